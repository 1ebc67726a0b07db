//! What `/metrics` says, read as strictly as its format is written.
//!
//! The format is <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>, version 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

use super::http::get;
use super::registry::Registry;

/// One reading.
pub struct Metrics {
    /// The whole text.
    pub text: String,
    samples: BTreeMap<Series, f64>,
}

/// The name of a sample and its labels.
type Series = (String, BTreeMap<String, String>);

/// A family whose head has been read.
struct Family {
    name: String,
    kind: String,
}

impl Metrics {
    /// Reads them; panics unless the answer is well-formed.
    #[track_caller]
    pub fn of(registry: &Registry) -> Self {
        let reply = get("/metrics").send(registry.port).succeeds();
        let kind = reply.header("content-type").unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        Self::parse(reply.text()).unwrap_or_else(|fault| panic!("{fault} in\n{}", reply.text()))
    }

    /// A sample, as `name` or `name{label="value"}`; 0 if it is not there, as a counter that was never counted on.
    #[track_caller]
    pub fn get(&self, series: &str) -> f64 {
        let (series, rest) = series_of(series).unwrap();
        assert_eq!(rest, "");
        self.samples.get(&series).copied().unwrap_or(0.0)
    }

    /// Whether there is such a sample.
    pub fn has(&self, name: &str) -> bool {
        self.samples.keys().any(|(known, _)| known == name)
    }

    /// All values of a label.
    pub fn values_of(&self, label: &str) -> BTreeSet<&str> {
        let labels = self
            .samples
            .keys()
            .filter_map(|(_, labels)| labels.get(label));
        labels.map(String::as_str).collect()
    }

    /// All names of labels.
    pub fn labels(&self) -> BTreeSet<&str> {
        let labels = self.samples.keys().flat_map(|(_, labels)| labels.keys());
        labels.map(String::as_str).collect()
    }

    /// Reads the text, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut samples = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut family: Option<Family> = None;
        let whole = text.strip_suffix('\n').ok_or("the last line has no end")?;
        let mut lines = whole.split('\n');
        while let Some(line) = lines.next() {
            let wrong = |what: &str| format!("{what}: `{line}`");
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').ok_or_else(|| wrong("no help"))?;
                if !is_name(name) || help.is_empty() || !seen.insert(name.to_owned()) {
                    return Err(wrong("a bad or a second head"));
                }
                let head = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
                let (typed, kind) = head
                    .and_then(|head| head.split_once(' '))
                    .ok_or_else(|| wrong("no type"))?;
                let is_kind = ["counter", "gauge", "histogram"].contains(&kind);
                if typed != name || !is_kind || (kind == "counter") != name.ends_with("_total") {
                    return Err(wrong("a bad type"));
                }
                family = Some(Family {
                    name: name.to_owned(),
                    kind: kind.to_owned(),
                });
                continue;
            }
            let (series, rest) = series_of(line).ok_or_else(|| wrong("no sample"))?;
            let value = rest.strip_prefix(' ').ok_or_else(|| wrong("no value"))?;
            let value: f64 = value.parse().map_err(|_| wrong("no number"))?;
            let family = family.as_ref().ok_or_else(|| wrong("no head"))?;
            if !family.has(&series) || (family.kind != "gauge" && (value.is_nan() || value < 0.0)) {
                return Err(wrong("it is not of the family above it"));
            }
            if samples.insert(series, value).is_some() {
                return Err(wrong("it is there twice"));
            }
        }
        check_histograms(&samples)?;
        Ok(Self {
            text: text.to_owned(),
            samples,
        })
    }
}

impl Family {
    fn has(&self, (name, labels): &Series) -> bool {
        if self.kind != "histogram" {
            return *name == self.name && !labels.contains_key("le");
        }
        match name.strip_prefix(&self.name) {
            Some("_bucket") => labels.contains_key("le"),
            Some("_sum" | "_count") => !labels.contains_key("le"),
            _ => false,
        }
    }
}

/// Buckets grow with their bound, and the last one has all.
fn check_histograms(samples: &BTreeMap<Series, f64>) -> Result<(), String> {
    let mut buckets: BTreeMap<Series, Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, labels), value) in samples {
        let Some(name) = name.strip_suffix("_bucket") else {
            continue;
        };
        let mut labels = labels.clone();
        let bound = labels.remove("le").ok_or("a bucket without its bound")?;
        let bound = bound
            .parse()
            .map_err(|_| format!("`{bound}` is no bound"))?;
        let of = buckets.entry((name.to_owned(), labels)).or_default();
        of.push((bound, *value));
    }
    for ((name, labels), mut of) in buckets {
        of.sort_by(|a, b| a.0.total_cmp(&b.0));
        let is_growing = of
            .windows(2)
            .all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let (bound, all) = of[of.len() - 1];
        let count = samples.get(&(format!("{name}_count"), labels.clone()));
        let has_sum = samples.contains_key(&(format!("{name}_sum"), labels));
        if !is_growing || bound != f64::INFINITY || count != Some(&all) || !has_sum {
            return Err(format!("the buckets of `{name}` do not fit"));
        }
    }
    Ok(())
}

/// Takes the name and the labels from the start of a line.
fn series_of(line: &str) -> Option<(Series, &str)> {
    let end = line.find(['{', ' ']).unwrap_or(line.len());
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inner.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            let is_new = labels.insert(label.to_owned(), value).is_none();
            if !is_name(label) || label.contains(':') || !is_new {
                return None;
            }
            match after.strip_prefix(',') {
                Some(next) => inner = next,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    is_name(name).then(|| ((name.to_owned(), labels), rest))
}

/// Takes a value up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    let is_of = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.starts_with(|c: char| is_of(c) && !c.is_ascii_digit()) && text.chars().all(is_of)
}

#[test]
fn what_is_not_of_the_format_is_refused() {
    let head = "# HELP a_total Help.\n# TYPE a_total counter\n";
    let histogram = "# HELP h Help.\n# TYPE h histogram\n";
    assert!(Metrics::parse(&format!("{head}a_total{{b=\"c\\\"d\"}} 1\n")).is_ok());
    let good = "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    assert!(Metrics::parse(&format!("{histogram}{good}")).is_ok());
    for text in [
        "a_total 1\n".to_owned(),
        format!("{head}a_total 1"),
        format!("{head}b_total 1\n"),
        format!("{head}a_total one\n"),
        format!("{head}a_total -1\n"),
        format!("{head}a_total 1\na_total 1\n"),
        format!("{head}{head}a_total 1\n"),
        format!("{head}a_total{{b=c}} 1\n"),
        format!("{head}a_total{{b=\"c}} 1\n"),
        format!("{head}a_total{{b=\"c\",b=\"c\"}} 1\n"),
        format!("{head}\na_total 1\n"),
        "# HELP a Help.\n# TYPE a counter\na 1\n".to_owned(),
        format!("{histogram}{}", good.replace("h_count 2", "h_count 3")),
        format!("{histogram}{}", good.replace("+Inf", "2")),
        format!("{histogram}{}", good.replace("} 1", "} 5")),
    ] {
        assert!(Metrics::parse(&text).is_err(), "{text}");
    }
}
