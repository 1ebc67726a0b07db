//! Twenty thousand publishes, one after the other: how many packs there are, how long a publish waits while packs are
//! merged, and what clones and fetches cost beside those from a freshly repacked copy.
//!
//! It takes some minutes and prints what it measured, so it runs only when `SIDECARGO_TEST_LONG` is set.

use std::process::Stdio;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::*;

const PUBLISHES: usize = 20_000;
const CRATES: usize = 2_000;
/// How often each request is made, to tell its cost.
const REQUESTS: usize = 5;

/// When packs were merged.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<(Instant, Instant)>>>);

struct Milliseconds(Option<u64>);

impl Visit for Milliseconds {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_u128(&mut self, field: &Field, value: u128) {
        if field.name() == "duration_ms" {
            self.0 = u64::try_from(value).ok();
        }
    }
}

impl<S: Subscriber> Layer<S> for Diary {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut duration = Milliseconds(None);
        event.record(&mut duration);
        if let Milliseconds(Some(duration)) = duration {
            let now = Instant::now();
            let began = now - Duration::from_millis(duration);
            self.0.lock().unwrap().push((began, now));
        }
    }
}

#[test]
fn twenty_thousand_publishes_leave_a_quick_repository() {
    if std::env::var_os("SIDECARGO_TEST_LONG").is_none() {
        println!("only with SIDECARGO_TEST_LONG");
        return;
    }
    let diary = Diary::default();
    let told = tracing_subscriber::registry().with(diary.clone());
    tracing::subscriber::set_global_default(told).unwrap();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let git_dir = place(folder.path()).git_dir;
    let index = open(folder.path(), URL).unwrap();
    let mut took = Vec::new();
    for number in 0..PUBLISHES {
        let name = spread(number % CRATES);
        let version = format!("1.{}.0", number / CRATES);
        let change = change("alice", publish(&name, &version, 1));
        let began = Instant::now();
        let deadline = Deadline::now() + Duration::from_secs(60);
        runtime.block_on(index.submit(change, deadline)).unwrap();
        took.push((began, Instant::now()));
        if (number + 1) % 1_000 == 0 {
            report_packs(number + 1, &git_dir);
        }
        if number + 1 == PUBLISHES / 2 + 777 {
            compare("in the midst", folder.path(), &git_dir);
        }
    }
    compare("in the moment of the last", folder.path(), &git_dir);
    let until = Instant::now() + Duration::from_secs(180);
    while QUIET.plan(&report_packs(PUBLISHES, &git_dir)) != Plan::Rest {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_secs(5));
    }
    let ratios = compare("when it is quiet", folder.path(), &git_dir);
    assert!(ratios.iter().all(|ratio| *ratio < 1.25), "{ratios:?}");
    drop(index);
    report_waits(&took, &diary.0.lock().unwrap());
    assert_eq!(git_in(&git_dir, &["fsck", "--strict", "--full"]), "");
    let commits = git_in(&git_dir, &["rev-list", "--count", "main"]);
    assert_eq!(commits, format!("{}\n", PUBLISHES + 1));
}

/// The name of a crate: they lie in as many folders as crates do that people named.
fn spread(number: usize) -> String {
    let letters = [1, 26, 676, 17_576].map(|place| (b'a' + (number / place % 26) as u8) as char);
    format!("{}-krate", letters.iter().collect::<String>())
}

fn report_packs(publishes: usize, git_dir: &Path) -> Vec<u64> {
    let packs = packs::list(&git_dir.join("objects/pack")).unwrap();
    let largest = packs.last().unwrap().objects;
    let beside = packs.iter().map(|pack| pack.objects).sum::<u64>() - largest;
    println!(
        "after {publishes} publishes: {} packs, the largest of {largest} objects, {beside} beside it",
        packs.len(),
    );
    packs.iter().map(|pack| pack.objects).collect()
}

/// How long publishes took that met a merge, and those that did not: none waits for the end of a long one.
fn report_waits(took: &[(Instant, Instant)], merges: &[(Instant, Instant)]) {
    let meets = |(began, ended): &(Instant, Instant)| {
        merges.iter().any(|(from, to)| began < to && ended > from)
    };
    let busy: Duration = merges.iter().map(|(from, to)| *to - *from).sum();
    let longest = merges.iter().map(|(from, to)| *to - *from).max();
    println!(
        "{} merges, {busy:?} together, the longest {:?}",
        merges.len(),
        longest.unwrap_or_default()
    );
    let slowest = took.iter().map(|(began, ended)| *ended - *began).max();
    assert!(slowest < longest.map(|longest| longest / 2));
    let mut medians = Vec::new();
    for (what, is_meant) in [("during", true), ("outside of", false)] {
        let mut waits: Vec<Duration> = took
            .iter()
            .filter(|publish| meets(publish) == is_meant)
            .map(|(began, ended)| *ended - *began)
            .collect();
        waits.sort_unstable();
        let Some(slowest) = waits.last() else {
            continue;
        };
        medians.push(waits[waits.len() / 2]);
        println!(
            "{} publishes {what} merges: p50 {:?}, p99 {:?}, p99.9 {:?}, slowest {slowest:?}",
            waits.len(),
            waits[waits.len() / 2],
            waits[waits.len() * 99 / 100],
            waits[waits.len() * 999 / 1000],
        );
    }
    let [during, outside] = medians.try_into().unwrap();
    assert!(during < 3 * outside, "{during:?} instead of {outside:?}");
}

/// What clone and fetch cost here beside a copy that git has just repacked.
fn compare(when: &str, folder: &Path, git_dir: &Path) -> [f64; 3] {
    let (as_it_is, fresh) = (folder.join("as-it-is"), folder.join("fresh"));
    // Packs that are merged meanwhile go under its hands; then once more.
    while !has_copied(git_dir, &as_it_is) {
        fs::remove_dir_all(&as_it_is).unwrap();
    }
    assert!(has_copied(&as_it_is, &fresh));
    let count = packs::list(&as_it_is.join("objects/pack")).unwrap().len();
    git_in(&fresh, &["repack", "-adbq"]);
    let graph = ["commit-graph", "write", "--reachable", "--no-progress"];
    git_in(&fresh, &graph);
    let ratios = [None, Some(1), Some(100)].map(|behind| {
        // By turns, so that the load of the machine meets both.
        let mut least = [Duration::MAX; 2];
        for _ in 0..REQUESTS {
            for (least, copy) in least.iter_mut().zip([&as_it_is, &fresh]) {
                *least = cpu_of_request(copy, behind).min(*least);
            }
        }
        let what = behind.map_or("clone".to_owned(), |commits| format!("{commits} behind"));
        let ratio = least[0].as_secs_f64() / least[1].as_secs_f64();
        println!("{when}, {count} packs, {what}: {least:?} here and freshly repacked: {ratio:.2}");
        ratio
    });
    for copy in [&as_it_is, &fresh] {
        fs::remove_dir_all(copy).unwrap();
    }
    ratios
}

fn has_copied(from: &Path, to: &Path) -> bool {
    let mut command = Command::new("cp");
    command.arg("-r").args([from, to]).stderr(Stdio::null());
    command.status().unwrap().success()
}

/// Time of the processor that `git upload-pack` needs to answer.
fn cpu_of_request(git_dir: &Path, behind: Option<u32>) -> Duration {
    const TIMES: u32 = 4;
    let script = "for _ in 1 2 3 4; do git upload-pack --stateless-rpc \"$1\" <\"$2\" >\"$3\" || exit; done; times";
    let line = |text: String| format!("{:04x}{text}", text.len() + 4);
    let tip = git_in(git_dir, &["rev-parse", "main"]);
    let mut request = line(format!(
        "want {} side-band-64k ofs-delta thin-pack\n",
        tip.trim()
    ));
    request += "0000";
    if let Some(commits) = behind {
        let have = git_in(git_dir, &["rev-parse", &format!("main~{commits}")]);
        request += &line(format!("have {have}"));
    }
    request += &line("done\n".to_owned());
    let (input, answer) = (git_dir.join("request"), git_dir.join("answer"));
    fs::write(&input, request).unwrap();
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .args([git_dir, &input, &answer])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(fs::metadata(&answer).unwrap().len() > 100);
    let times = String::from_utf8(output.stdout).unwrap();
    // The second line is that of the programs: user and system, each as in `0m0.123s`.
    let words = times.lines().nth(1).unwrap().split(' ');
    let seconds = words.map(|word| {
        let (minutes, seconds) = word.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    });
    Duration::from_secs_f64(seconds.sum::<f64>()) / TIMES
}
