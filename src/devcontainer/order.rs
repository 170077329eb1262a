//! In which order Features are installed. Pure.

/// A Feature among others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name, without a version.
    pub name: String,
    /// Those (by index) without which it cannot be installed.
    pub depends_on: Vec<usize>,
    /// Names of those that go before it where they are installed as well.
    pub installs_after: Vec<String>,
}

/// The indexes of `nodes` in their order, or those of the ones that need each other. `preferred` are names that go as early
/// as they can.
///
/// In rounds: of those whose needs are met the ones with the highest preference, by name, are next.
pub fn order(nodes: &[Node], preferred: &[String]) -> Result<Vec<usize>, Vec<usize>> {
    let priority = |node: &Node| {
        preferred.iter().position(|name| *name == node.name).map_or(0, |position| preferred.len() - position)
    };
    let mut done: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut left: Vec<usize> = (0..nodes.len()).collect();
    while !left.is_empty() {
        let is_ready = |index: &usize| {
            let node = &nodes[*index];
            let waits = |name: &String| left.iter().any(|other| other != index && nodes[*other].name == *name);
            node.depends_on.iter().all(|needed| done.contains(needed)) && !node.installs_after.iter().any(waits)
        };
        let ready: Vec<usize> = left.iter().copied().filter(is_ready).collect();
        let Some(highest) = ready.iter().map(|index| priority(&nodes[*index])).max() else { return Err(left) };
        let mut round: Vec<usize> = ready.into_iter().filter(|index| priority(&nodes[*index]) == highest).collect();
        round.sort_by(|a, b| nodes[*a].name.cmp(&nodes[*b].name));
        left.retain(|index| !round.contains(index));
        done.extend(round);
    }
    Ok(done)
}

/// The name of a Feature without its version.
#[must_use]
pub fn without_version(reference: &str) -> &str {
    let reference = reference.split('@').next().unwrap_or(reference);
    match reference.rsplit_once(':') {
        // The port of a registry is followed by a path.
        Some((name, version)) if !version.contains('/') => name,
        _ => reference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a>b` needs, `a~b` goes after.
    fn nodes(names: &str, relations: &str) -> Vec<Node> {
        let names: Vec<&str> = names.split(' ').collect();
        let mut nodes: Vec<Node> =
            names.iter().map(|name| Node { name: (*name).to_owned(), ..Node::default() }).collect();
        let find = |name: &str| names.iter().position(|known| *known == name).unwrap();
        for relation in relations.split(' ').filter(|relation| !relation.is_empty()) {
            if let Some((node, needed)) = relation.split_once('>') {
                nodes[find(node)].depends_on.push(find(needed));
            } else if let Some((node, before)) = relation.split_once('~') {
                nodes[find(node)].installs_after.push(before.to_owned());
            }
        }
        nodes
    }

    #[test]
    fn needs_come_first() {
        for (names, relations, preferred, expected) in [
            ("b a c", "", "", "a b c"),
            ("a b", "a>b", "", "b a"),
            ("a b", "a~b", "", "b a"),
            ("a b", "a~gone", "", "a b"),
            ("a b c", "a>c c~b", "", "b c a"),
            ("a b c", "", "c b", "c b a"),
            ("a b c", "c>b", "c", "a b c"),
            ("a b c", "b~a", "b", "a c b"),
        ] {
            let nodes = nodes(names, relations);
            let preferred: Vec<String> = preferred.split(' ').map(str::to_owned).collect();
            let found = order(&nodes, &preferred).unwrap();
            let found: Vec<&str> = found.iter().map(|index| nodes[*index].name.as_str()).collect();
            assert_eq!(found.join(" "), expected, "{names} {relations} {preferred:?}");
        }
    }

    #[test]
    fn circles_are_refused() {
        for (names, relations, stuck) in
            [("a", "a>a", 1), ("a b", "a>b b>a", 2), ("a b c", "a~b b~a", 2), ("a b c", "a>b b>c c~a", 3)]
        {
            assert_eq!(order(&nodes(names, relations), &[]).unwrap_err().len(), stuck, "{relations}");
        }
    }

    #[test]
    fn versions_are_no_part_of_a_name() {
        for (reference, name) in [
            ("ghcr.io/x/go:1.2", "ghcr.io/x/go"),
            ("ghcr.io/x/go", "ghcr.io/x/go"),
            ("localhost:5000/x/go", "localhost:5000/x/go"),
            ("localhost:5000/x/go:1", "localhost:5000/x/go"),
            ("ghcr.io/x/go@sha256:00", "ghcr.io/x/go"),
            ("./local", "./local"),
        ] {
            assert_eq!(without_version(reference), name);
        }
    }
}
