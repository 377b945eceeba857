//! What is true of every endpoint of its kind.

use serde_json::{Map, Value, json};

/// An object's fields.
type Fields = Map<String, Value>;

/// Refusals that any request may get.
const OF_ALL: [(&str, &str); 3] = [
    ("429", "Too many requests"),
    ("500", "The server made a mistake"),
    ("503", "The server cannot do this now"),
];

/// Adds to every operation its name, what it may be refused with, and the headers of its answers.
pub(super) fn complete(document: &mut Value) {
    document["components"]["securitySchemes"] = json!({
        "device": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "A device's token: POST /v1/auth/token",
        },
        "relay": {
            "type": "http", "scheme": "bearer",
            "description": "What `lanrage-control relay-token` prints",
        },
        "operator": {
            "type": "http", "scheme": "bearer",
            "description": "The admin-token of the server's data directory",
        },
    });
    let paths = document["paths"].as_object_mut();
    for (path, item) in paths.into_iter().flatten() {
        for operation in item.as_object_mut().into_iter().flat_map(Fields::values_mut) {
            if let Some(operation) = operation.as_object_mut() {
                complete_operation(path, operation);
            }
        }
    }
    plain_words(document);
}

fn complete_operation(path: &str, operation: &mut Fields) {
    let tag = operation
        .get("tags")
        .and_then(|tags| tags[0].as_str())
        .unwrap_or_default();
    let name = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
    let id = format!("{tag}_{name}");
    operation.insert("operationId".into(), id.into());
    // An endpoint that needs no token says so with an empty requirement.
    if operation.get("security") == Some(&json!([{}])) {
        operation.insert("security".into(), json!([]));
    }
    for (status, why) in refusals(path, operation) {
        let responses = operation.entry("responses").or_insert_with(|| json!({}));
        if responses[status].is_null() {
            responses[status] = json!({"description": why});
        }
    }
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for (status, response) in responses.into_iter().flatten() {
        complete_response(status, response);
    }
}

/// The refusals that follow from what an endpoint takes.
fn refusals(path: &str, operation: &Fields) -> Vec<(&'static str, &'static str)> {
    let mut refusals = OF_ALL.to_vec();
    let parameters = operation.get("parameters").and_then(Value::as_array);
    // And whether it must be said which.
    let changes_a_version = parameters
        .and_then(|list| list.iter().find(|one| one["name"] == "If-Match"))
        .map(|one| one["required"] == true);
    let has_query = parameters.is_some_and(|list| list.iter().any(|one| one["in"] == "query"));
    let has_body = operation.contains_key("requestBody");
    if operation.get("security") != Some(&json!([])) {
        refusals.push(("401", "No token, or one that is not valid or has ended"));
    }
    if has_body || has_query || path.contains('{') {
        refusals.push(("400", "The request cannot be read"));
    }
    if has_body {
        refusals.push(("413", "The request is too large"));
        refusals.push(("415", "The request is not JSON, or does not say so"));
    }
    if changes_a_version.is_some() {
        refusals.push(("409", "The party has another version by now (`version_conflict`)"));
    }
    if changes_a_version == Some(true) {
        refusals.push(("428", "If-Match is missing"));
    }
    refusals
}

fn complete_response(status: &str, response: &mut Value) {
    let header = |description: &str, schema: Value| json!({"description": description, "schema": schema});
    response["headers"]["X-Request-Id"] =
        header("Names the request, in the server's log too", json!({"type": "string"}));
    if matches!(status, "429" | "503") {
        let seconds = json!({"type": "integer", "minimum": 0});
        response["headers"]["Retry-After"] = header("Seconds to wait", seconds);
    }
    let is_refusal = status.starts_with(['4', '5']);
    if is_refusal && response["content"].is_null() {
        let schema = json!({"$ref": "#/components/schemas/ApiError"});
        response["content"] = json!({"application/json": {"schema": schema}});
    }
}

/// Takes what only means something in the source out of descriptions: `[`Party`]`, `[`crate::ids::Pin`]`.
fn plain_words(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "description" || name == "summary" => *text = without_links(text),
                    value => plain_words(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(plain_words),
        _ => {}
    }
}

fn without_links(text: &str) -> String {
    let mut pieces = text.split("[`");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (link, rest) = piece.split_once("`]").unwrap_or((piece, ""));
        let is_module = |part: &&str| part.starts_with(char::is_lowercase);
        let named: Vec<&str> = link.split("::").skip_while(is_module).collect();
        let name = if named.is_empty() {
            link.to_owned()
        } else {
            named.join("::")
        };
        plain += &format!("`{name}`{rest}");
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_the_source_are_plain_names_in_the_document() {
        assert_eq!(
            without_links("Base64url of [`crate::invite::InviteAuth::hash`]. Answer: [`super::party::Party`]"),
            "Base64url of `InviteAuth::hash`. Answer: `Party`"
        );
    }
}
