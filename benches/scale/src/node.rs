//! The process that is one of several nodes: an authority of its own on the common database.
//!
//! It is told on its standard input what to do, and answers with a line of JSON.

use std::{
    io::BufRead as _,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    child::{read_sample, rotate, verify, verify_now},
    meter::{own_time, resident},
    place::Place,
};

pub(crate) fn run(runtime: &Runtime, place: &str) -> anyhow::Result<()> {
    let place = Place::from_word(place)?;
    let (_, sample) = read_sample()?;
    let (store, authority) = runtime.block_on(async {
        let store = place.open().await?;
        let authority = store.authority(place.keys()?)?;
        anyhow::Ok((store, authority))
    })?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let word = words.next().unwrap_or("");
        let mut number = || {
            words
                .next()
                .and_then(|word| word.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let (began, used, mut asked_store) = (Instant::now(), own_time(), 0);
        let done = match word {
            "see" => runtime.block_on(async {
                for known in &sample {
                    verify(&authority, known).await?;
                }
                anyhow::Ok(sample.len() as u64)
            })?,
            "check" => {
                let _entered = runtime.enter();
                let until = began + Duration::from_millis(number());
                let (mut done, mut turn, mut asked) = (0_u64, 0_usize, 0_u64);
                while !done.is_multiple_of(64) || Instant::now() < until {
                    let known = &sample[turn * 7919 % sample.len()];
                    // One whose lease has run out asks the store.
                    if !verify_now(&authority, known) {
                        asked += 1;
                        runtime.block_on(verify(&authority, known))?;
                    }
                    turn += 1;
                    done += 1;
                }
                asked_store = asked;
                done
            }
            "rotate" => {
                let (writers, length) = (number() as usize, Duration::from_millis(number()));
                runtime.block_on(rotate(&authority, writers, length))?
            }
            _ => 0,
        };
        let figures: Value = json!({
            "done": done,
            "asked_store": asked_store,
            "seconds": began.elapsed().as_secs_f64(),
            "own_seconds": (own_time() - used).as_secs_f64(),
            "resident": resident(),
        });
        println!("{figures}");
    }
    drop(authority);
    if let crate::place::Store::Postgres(store) = store {
        runtime.block_on(store.close());
    }
    Ok(())
}
