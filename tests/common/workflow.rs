//! Workflows of ours, read as a runner of the forge reads them.

/// What a workflow of ours sets for all its steps, each a line below `env:`.
pub fn variables(workflow: &str) -> Vec<(String, String)> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = workflow.lines();
    let Some(head) = lines.find(|line| line.trim() == "env:") else {
        return Vec::new();
    };
    lines
        .take_while(|line| depth(line) > depth(head))
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The steps of a workflow of ours, each a block, as the forge writes it.
pub fn steps(workflow: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut lines = workflow.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((before, "|" | "|-")) = line.split_once("run: ") else {
            continue;
        };
        let is_deeper = |it: &&str| it.len() - it.trim_start().len() > before.len();
        let first = lines.peek().copied().unwrap_or_default();
        let indent = first.len() - first.trim_start().len();
        let mut step = String::new();
        while let Some(line) = lines.next_if(|it| it.is_empty() || is_deeper(it)) {
            step.push_str(line.get(indent..).unwrap_or_default());
            step.push('\n');
        }
        steps.push(step);
    }
    steps
}
