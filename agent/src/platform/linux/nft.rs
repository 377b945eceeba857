//! Reads an nftables ruleset (`nft -j list ruleset`, libnftables-json(5)) for whether it drops what comes in by an interface.
//!
//! A best effort: rules are followed that hold for everything or for the interface. What a rule says of some ports or some
//! senders only is passed over.

use serde_json::Value;

/// Chains that jump to each other deeper than this are not followed; the kernel allows 16.
const DEPTH: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Accept,
    Drop,
}

/// The first chain that drops what comes in by an interface, as `nft` names it: family, table, chain.
pub(super) fn shut_by(ruleset: &Value, interface: &str) -> Option<String> {
    let objects = ruleset["nftables"].as_array()?;
    let chains = objects.iter().map(|object| &object["chain"]);
    let mut inputs = chains.filter(|chain| chain["hook"] == "input" && chain["type"] == "filter");
    let shut = inputs.find(|chain| {
        let end = follow(objects, chain, interface, DEPTH);
        end.unwrap_or(if chain["policy"] == "drop" {
            End::Drop
        } else {
            End::Accept
        }) == End::Drop
    })?;
    let part = |name: &str| shut[name].as_str().unwrap_or("?");
    Some(format!("{} {} {}", part("family"), part("table"), part("name")))
}

/// How a chain ends for everything that comes by the interface; none when it leaves that open.
fn follow(objects: &[Value], chain: &Value, interface: &str, depth: usize) -> Option<End> {
    let is_in = |rule: &&Value| {
        rule["family"] == chain["family"] && rule["table"] == chain["table"] && rule["chain"] == chain["name"]
    };
    let rules = objects.iter().map(|object| &object["rule"]).filter(is_in);
    for rule in rules {
        let Some(expressions) = rule["expr"].as_array() else {
            continue;
        };
        if !expressions.iter().all(|expression| holds(expression, interface)) {
            continue;
        }
        for expression in expressions {
            if expression.get("accept").is_some() {
                return Some(End::Accept);
            }
            if expression.get("drop").is_some() || expression.get("reject").is_some() {
                return Some(End::Drop);
            }
            if expression.get("return").is_some() {
                return None;
            }
            let target = ["jump", "goto"]
                .iter()
                .find_map(|way| expression[way]["target"].as_str());
            if let (Some(target), Some(depth)) = (target, depth.checked_sub(1)) {
                let is_target = |other: &&Value| {
                    other["family"] == chain["family"] && other["table"] == chain["table"] && other["name"] == target
                };
                let next = objects.iter().map(|object| &object["chain"]).find(is_target);
                if let Some(end) = next.and_then(|next| follow(objects, next, interface, depth)) {
                    return Some(end);
                }
            }
        }
    }
    None
}

/// Whether an expression is no condition, or one that everything from the interface meets.
fn holds(expression: &Value, interface: &str) -> bool {
    const NO_CONDITIONS: [&str; 9] = [
        "accept", "drop", "reject", "return", "jump", "goto", "counter", "log", "mangle",
    ];
    if NO_CONDITIONS.iter().any(|name| expression.get(name).is_some()) {
        return true;
    }
    let condition = &expression["match"];
    let key = condition["left"]["meta"]["key"].as_str();
    if !matches!(key, Some("iifname" | "iif")) {
        return false;
    }
    let names = match &condition["right"] {
        Value::Object(right) => right.get("set").and_then(Value::as_array).cloned().unwrap_or_default(),
        other => vec![other.clone()],
    };
    let is_named = names
        .iter()
        .filter_map(Value::as_str)
        .any(|name| match name.strip_suffix('*') {
            Some(start) => interface.starts_with(start),
            None => name == interface,
        });
    match condition["op"].as_str() {
        Some("==" | "in") => is_named,
        Some("!=") => !is_named,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ruleset(policy: &str, rules: &[Value]) -> Value {
        let chain = |name: &str| json!({"family": "inet", "table": "filter", "name": name});
        let mut input = chain("input");
        for (key, value) in [("type", "filter"), ("hook", "input"), ("policy", policy)] {
            input[key] = value.into();
        }
        let mut objects = vec![
            json!({"metainfo": {}}),
            json!({"chain": input}),
            json!({"chain": chain("more")}),
        ];
        for rule in rules {
            objects.push(json!({"rule": rule}));
        }
        json!({"nftables": objects})
    }

    fn rule(chain: &str, expressions: Value) -> Value {
        json!({"family": "inet", "table": "filter", "chain": chain, "expr": expressions})
    }

    fn from(op: &str, name: Value) -> Value {
        json!({"match": {"op": op, "left": {"meta": {"key": "iifname"}}, "right": name}})
    }

    fn is_shut(policy: &str, rules: &[Value]) -> bool {
        shut_by(&ruleset(policy, rules), "lanrage0").is_some()
    }

    #[test]
    fn the_policy_decides_where_no_rule_does() {
        assert_eq!(shut_by(&json!({}), "lanrage0"), None);
        assert!(!is_shut("accept", &[]));
        assert_eq!(
            shut_by(&ruleset("drop", &[]), "lanrage0").as_deref(),
            Some("inet filter input")
        );
        let ssh =
            json!([{"match": {"op": "==", "left": {"payload": {"field": "dport"}}, "right": 22}}, {"accept": null}]);
        assert!(is_shut("drop", &[rule("input", ssh)]), "one port is not everything");
    }

    #[test]
    fn a_rule_for_the_interface_comes_before_the_policy() {
        for name in [json!("lanrage0"), json!("lanrage*"), json!({"set": ["lo", "lanrage0"]})] {
            let accept = rule("input", json!([from("==", name), {"counter": {}}, {"accept": null}]));
            assert!(!is_shut("drop", &[accept]));
        }
        let others = rule("input", json!([from("!=", json!("eth0")), {"accept": null}]));
        assert!(!is_shut("drop", &[others]));
        let loopback = rule("input", json!([from("==", json!("lo")), {"accept": null}]));
        assert!(is_shut("drop", &[loopback]));
    }

    #[test]
    fn rules_are_followed_in_order_and_through_jumps() {
        let jump = || rule("input", json!([{"jump": {"target": "more"}}]));
        let accept = || rule("more", json!([from("==", json!("lanrage0")), {"accept": null}]));
        let refuse = || rule("input", json!([{"log": null}, {"reject": {}}]));
        assert!(!is_shut("drop", &[jump(), accept()]));
        assert!(is_shut("accept", &[refuse(), jump(), accept()]));
        assert!(!is_shut("accept", &[jump(), accept(), refuse()]));
        let circle = rule("more", json!([{"jump": {"target": "more"}}]));
        assert!(is_shut("drop", &[jump(), circle]), "it ends");
    }
}
