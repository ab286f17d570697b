//! Divides a tap's rate among the nodes: what one does not need, another may use.

/// The requests per second of each node, given how many each would show. Every node may show at least one, so that it
/// can make itself heard; whoever merges the streams keeps to the sum.
pub(super) fn shares(max: u32, demands: &[u32]) -> Vec<u32> {
    let mut shares = vec![1; demands.len()];
    let mut left = max.saturating_sub(u32::try_from(demands.len()).unwrap_or(u32::MAX));
    // First what is needed, to all alike; then the rest, so that a node may begin to show more.
    for needed in [true, false] {
        loop {
            let open: Vec<usize> =
                (0..demands.len()).filter(|node| !needed || shares[*node] < demands[*node]).collect();
            let Some(count) = u32::try_from(open.len()).ok().filter(|count| *count > 0 && left > 0) else {
                break;
            };
            let each = (left / count).max(1);
            for node in open {
                let room = if needed { demands[node] - shares[node] } else { u32::MAX };
                let more = each.min(room).min(left);
                shares[node] += more;
                left -= more;
            }
        }
    }
    shares
}

/// Whether it is worth while to tell a node of its new share.
pub(super) fn differs(old: u32, new: u32) -> bool {
    old.abs_diff(new) * 5 > old.max(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_first_all_nodes_have_the_same() {
        assert_eq!(shares(100, &[0]), [100]);
        assert_eq!(shares(100, &[0, 0, 0, 0]), [25, 25, 25, 25]);
        assert_eq!(shares(100, &[]), Vec::<u32>::new());
    }

    #[test]
    fn a_busy_node_gets_what_idle_ones_do_not_need() {
        let busy = shares(100, &[1000, 0, 0, 0]);
        assert_eq!(busy, [97, 1, 1, 1]);
        assert_eq!(shares(100, &[1000, 1000, 10, 0]).iter().sum::<u32>(), 100);
        assert_eq!(shares(100, &[1000, 1000, 10, 0])[2], 10);
    }

    #[test]
    fn every_node_may_show_one_request() {
        let shares = shares(10, &[0; 50]);
        assert_eq!(shares, vec![1; 50]);
    }

    #[test]
    fn small_changes_are_not_worth_a_new_stream() {
        assert!(!differs(100, 90) && differs(100, 50) && differs(1, 2) && !differs(7, 7));
    }
}
