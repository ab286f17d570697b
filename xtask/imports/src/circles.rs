//! Finds the circles of a graph: its strongly connected parts of two nodes or more, by Tarjan's algorithm.

/// Nodes are numbers below `nodes`. A part in which one node is above all others is not a circle by itself: what is
/// left without that node is searched again. Each circle is sorted.
pub(crate) fn find(
    nodes: usize,
    edges: &[(usize, usize)],
    is_above: &impl Fn(usize, usize) -> bool,
) -> Vec<Vec<usize>> {
    let mut circles = Vec::new();
    for part in connected(nodes, edges) {
        let top = part.iter().find(|top| part.iter().all(|node| node == *top || is_above(**top, *node)));
        let Some(top) = top else {
            circles.push(part);
            continue;
        };
        let is_left = |node: &usize| node != top && part.contains(node);
        let left: Vec<_> = edges.iter().filter(|(from, to)| is_left(from) && is_left(to)).copied().collect();
        circles.extend(find(nodes, &left, is_above));
    }
    circles.sort();
    circles
}

fn connected(nodes: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut search = Search {
        edges: vec![Vec::new(); nodes],
        number: vec![None; nodes],
        lowest: vec![0; nodes],
        stack: Vec::new(),
        next: 0,
        parts: Vec::new(),
    };
    for (from, to) in edges {
        search.edges[*from].push(*to);
    }
    for node in 0..nodes {
        if search.number[node].is_none() {
            search.visit(node);
        }
    }
    search.parts
}

struct Search {
    edges: Vec<Vec<usize>>,
    /// The order in which nodes are reached.
    number: Vec<Option<usize>>,
    /// The lowest number that a node leads back to.
    lowest: Vec<usize>,
    stack: Vec<usize>,
    next: usize,
    parts: Vec<Vec<usize>>,
}

impl Search {
    fn visit(&mut self, node: usize) {
        let own = self.next;
        self.next += 1;
        self.number[node] = Some(own);
        self.lowest[node] = own;
        self.stack.push(node);
        for to in self.edges[node].clone() {
            match self.number[to] {
                None => {
                    self.visit(to);
                    self.lowest[node] = self.lowest[node].min(self.lowest[to]);
                }
                Some(number) if self.stack.contains(&to) => {
                    self.lowest[node] = self.lowest[node].min(number);
                }
                Some(_) => {}
            }
        }
        if self.lowest[node] == own
            && let Some(start) = self.stack.iter().position(|other| *other == node)
        {
            let mut part = self.stack.split_off(start);
            if part.len() > 1 {
                part.sort_unstable();
                self.parts.push(part);
            }
        }
    }
}
