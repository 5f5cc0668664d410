//! JSON pointers (RFC 6901) with `*` for any key or element.

use serde_json::Value;

/// Splits and unescapes a pointer; the empty pointer has no segments.
pub fn split(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect()
}

/// Removes what the pointer names; elements of an array become `null`, so that the others keep
/// their places. Says whether anything changed.
pub fn remove<S: AsRef<str>>(value: &mut Value, path: &[S]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return !std::mem::take(value).is_null();
    };
    let first = first.as_ref();
    match value {
        Value::Object(map) if rest.is_empty() => {
            if first == "*" {
                let changed = !map.is_empty();
                map.clear();
                changed
            } else {
                map.remove(first).is_some()
            }
        }
        _ => each_child(value, first, &mut |child| remove(child, rest)),
    }
}

/// Applies `change` to every value that the pointer names; `change` says whether it changed it.
pub fn edit<S: AsRef<str>>(value: &mut Value, path: &[S], change: &mut dyn FnMut(&mut Value) -> bool) -> bool {
    match path.split_first() {
        None => change(value),
        Some((first, rest)) => each_child(value, first.as_ref(), &mut |child| edit(child, rest, change)),
    }
}

fn each_child(value: &mut Value, segment: &str, visit: &mut dyn FnMut(&mut Value) -> bool) -> bool {
    match value {
        Value::Object(map) if segment == "*" => each(map.values_mut(), visit),
        Value::Object(map) => map.get_mut(segment).is_some_and(visit),
        Value::Array(items) if segment == "*" => each(items.iter_mut(), visit),
        Value::Array(items) => segment.parse().ok().and_then(|index: usize| items.get_mut(index)).is_some_and(visit),
        _ => false,
    }
}

/// Visits all of them, whether or not one was changed already.
fn each<'v>(children: impl Iterator<Item = &'v mut Value>, visit: &mut dyn FnMut(&mut Value) -> bool) -> bool {
    let mut changed = false;
    for child in children {
        changed |= visit(child);
    }
    changed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_star_names_every_key_and_every_element() {
        let mut value = json!({"a": [{"x": 1, "y": 2}, {"x": 3}], "b": {"x": 4}});
        assert!(remove(&mut value, &["a", "*", "x"]));
        assert_eq!(value, json!({"a": [{"y": 2}, {}], "b": {"x": 4}}));
        assert!(remove(&mut value, &["*", "x"]));
        assert_eq!(value, json!({"a": [{"y": 2}, {}], "b": {}}));
        assert!(!remove(&mut value, &["nothing", "here"]));
    }

    #[test]
    fn a_removed_element_leaves_its_place() {
        let mut value = json!([1, 2, 3]);
        assert!(remove(&mut value, &["1"]));
        assert_eq!(value, json!([1, null, 3]));
    }

    #[test]
    fn escapes_are_undone_in_the_order_of_the_rfc() {
        assert_eq!(split("/a~1b/~01/*"), ["a/b", "~1", "*"]);
        assert!(split("").is_empty());
    }
}
