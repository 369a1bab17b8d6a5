//! [`Namespace`]: a network of its own for one node, where packets to and from the database can be dropped.
//!
//! A [proxy](crate::proxy) breaks what TCP carries. Here TCP itself is at work: the kernels on both ends send again, later and
//! later, what was not acknowledged.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Command,
};

/// A network namespace that a link connects with the test's, for as long as this lives.
pub(crate) struct Namespace {
    name: String,
    /// The test's end of the link.
    device: String,
    network: Ipv4Addr,
}

/// Which part of the packets between node and database is dropped, from none (0) to all (1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Loss {
    /// Of those that the node sends.
    pub(crate) sent: f64,
    /// Of those that the database sends.
    pub(crate) received: f64,
}

impl Namespace {
    /// Makes one that drops nothing.
    ///
    /// # Errors
    /// Why there is none: most often that the process is not root's, or in a container that may not.
    pub(crate) fn create() -> Result<Self, String> {
        remove_what_is_left();
        let process = std::process::id();
        let name = format!("{PREFIX}{process}");
        ip(&format!("netns add {name}"))?;
        // From here on it is removed whatever fails.
        let namespace = Self {
            device: device(process),
            network: free_network(),
            name: name.clone(),
        };
        let (device, here, there) = (&namespace.device, namespace.of_test(), namespace.of_node());
        ip(&format!(
            "link add {device} type veth peer name way netns {name}"
        ))?;
        ip(&format!("address add {here}/{PREFIX_LENGTH} dev {device}"))?;
        ip(&format!("link set {device} up"))?;
        ip(&format!(
            "-netns {name} address add {there}/{PREFIX_LENGTH} dev way"
        ))?;
        ip(&format!("-netns {name} link set way up"))?;
        ip(&format!("-netns {name} link set lo up"))?;
        ip(&format!("netns exec {name} true"))?;
        tc(&["qdisc", "add", "dev", device, "clsact"])?;
        namespace.try_to_drop(1, Loss::NONE)?;
        Ok(namespace)
    }

    /// Returns the address by which the node reaches what the test runs.
    pub(crate) fn of_test(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + 1)
    }

    /// Returns the address by which the test reaches the node.
    pub(crate) fn of_node(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + 2)
    }

    /// Prepares a program in it, which the process itself becomes.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Returns how many segments TCP has sent again in it, since nobody acknowledged them.
    pub(crate) fn sent_again(&self) -> u64 {
        let counted = self.command("cat").arg("/proc/net/snmp").output().unwrap();
        let counted = String::from_utf8(counted.stdout).unwrap();
        // A line of names, then one of numbers.
        let mut lines = counted.lines().filter(|line| line.starts_with("Tcp:"));
        let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
        let mut counters = names.split(' ').zip(numbers.split(' '));
        let (_, number) = counters.find(|(name, _)| *name == "RetransSegs").unwrap();
        number.parse().unwrap()
    }

    /// Drops packets to and from the port of the database from here on, and no others.
    pub(crate) fn drop_packets(&self, database: u16, loss: Loss) {
        self.try_to_drop(database, loss).unwrap();
    }

    fn try_to_drop(&self, database: u16, loss: Loss) -> Result<(), String> {
        // As the test's end of the link has it, what the node sends comes in.
        for (way, port_at, part) in [
            ("ingress", DESTINATION_PORT, loss.sent),
            ("egress", SOURCE_PORT, loss.received),
        ] {
            let program = dropping(part, port_at, database);
            let filter = ["filter", "replace", "dev", &self.device, way];
            let only_one = ["pref", "1", "handle", "1"];
            let decides = ["bpf", "direct-action", "bytecode", &program];
            tc(&[&filter[..], &only_one, &decides].concat())?;
        }
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name, &self.device);
    }
}

impl Loss {
    pub(crate) const NONE: Self = Self::both(0.0);

    /// Of all packets, whoever sends them.
    pub(crate) const fn both(part: f64) -> Self {
        Self {
            sent: part,
            received: part,
        }
    }
}

/// Returns the program that drops a part of the TCP packets with a port, in the classic machine language of packet
/// filters: the kernel's own random loss (netem) is often not built in, and rules of nftables would be one package more.
fn dropping(part: f64, port_at: u32, port: u16) -> String {
    let most = (part * f64::from(1 << 16)).round() as u32;
    let program: [[u32; 4]; 9] = [
        [LOAD_HALF, 0, 0, ETHERTYPE],
        [JUMP_IF_EQUAL, 0, 6, IPV4],
        [LOAD_HALF, 0, 0, port_at],
        [JUMP_IF_EQUAL, 0, 4, port.into()],
        [LOAD_WORD, 0, 0, RANDOM],
        [AND, 0, 0, 0xffff],
        [JUMP_IF_AT_LEAST, 1, 0, most],
        [RETURN, 0, 0, TC_ACT_SHOT],
        [RETURN, 0, 0, TC_ACT_UNSPEC],
    ];
    let mut text = program.len().to_string();
    for [operation, if_true, if_false, operand] in program {
        text += &format!(",{operation} {if_true} {if_false} {operand}");
    }
    text
}

/// Removes namespaces of tests that were killed, and could not do it themselves.
fn remove_what_is_left() {
    for namespace in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = namespace.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|id| id.parse().ok());
        let Some(process) = process else {
            continue;
        };
        // Numbers of processes are given again, ours too.
        let is_left =
            process == std::process::id() || !Path::new(&format!("/proc/{process}")).exists();
        if is_left {
            remove(&name, &device(process));
        }
    }
}

fn remove(name: &str, device: &str) {
    // Where it was never made, or went with the namespace, there is nothing to remove.
    let _gone = ip(&format!("link delete {device}"));
    let _gone = ip(&format!("netns delete {name}"));
}

fn device(process: u32) -> String {
    format!("wst-{process}")
}

/// Returns a network of four addresses that this machine has none of.
fn free_network() -> Ipv4Addr {
    loop {
        let network = Ipv4Addr::from_bits(NETWORKS.to_bits() + 4 * fastrand::u32(..1 << 15));
        let ours = Ipv4Addr::from_bits(network.to_bits() + 1);
        if TcpListener::bind((ours, 0)).is_err() {
            return network;
        }
    }
}

fn ip(words: &str) -> Result<(), String> {
    run("ip", &words.split(' ').collect::<Vec<_>>())
}

fn tc(words: &[&str]) -> Result<(), String> {
    run("tc", words)
}

fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let failed = |why: &str| format!("{program} {}: {}", words.join(" "), why.trim());
    let done = Command::new(program).args(words).output();
    let done = done.map_err(|error| failed(&error.to_string()))?;
    if done.status.success() {
        Ok(())
    } else {
        Err(failed(&String::from_utf8_lossy(&done.stderr)))
    }
}

const PREFIX: &str = "wst-nodes-";

/// For benchmarks of networks (RFC 2544), so nothing that is in use.
const NETWORKS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
pub(crate) const PREFIX_LENGTH: u8 = 30;

// Where things are in an Ethernet frame with IPv4 without options, as Linux sends TCP.
const ETHERTYPE: u32 = 12;
const SOURCE_PORT: u32 = 34;
const DESTINATION_PORT: u32 = 36;

const IPV4: u32 = 0x0800;

// linux/bpf_common.h
const LOAD_WORD: u32 = 0x20;
const LOAD_HALF: u32 = 0x28;
const AND: u32 = 0x54;
const JUMP_IF_EQUAL: u32 = 0x15;
const JUMP_IF_AT_LEAST: u32 = 0x35;
const RETURN: u32 = 0x06;

/// Where a random number is read: SKF_AD_OFF + SKF_AD_RANDOM of linux/filter.h.
const RANDOM: u32 = (-0x1000_i32 + 56) as u32;

// linux/pkt_cls.h
const TC_ACT_SHOT: u32 = 2;
const TC_ACT_UNSPEC: u32 = u32::MAX;
