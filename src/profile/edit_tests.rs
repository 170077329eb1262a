use proptest::prelude::*;

use super::*;

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn adds() {
    for (before, after) in [
        ("", "packages = [\"x\", \"y\"]\n"),
        ("packages = []\n", "packages = [\"x\", \"y\"]\n"),
        ("packages = [\"a\"]", "packages = [\"a\", \"x\", \"y\"]"),
        ("packages = ['a', ] # why\n", "packages = ['a', \"x\", \"y\", ] # why\n"),
        ("packages = [\"x\"]\n", "packages = [\"x\", \"y\"]\n"),
        ("packages = [ \"a\" ]\n", "packages = [ \"a\", \"x\", \"y\" ]\n"),
        (
            "packages = [\n  \"a\", # one\n  # more\n]\n",
            "packages = [\n  \"a\", # one\n  \"x\",\n  \"y\",\n  # more\n]\n",
        ),
        ("packages = [\n\t\"a\" # one, two\n]\n", "packages = [\n\t\"a\", # one, two\n\t\"x\",\n\t\"y\"\n]\n"),
        ("packages = [\n  \"a\"\n  , # odd\n]\n", "packages = [\n  \"a\"\n  , # odd\n  \"x\",\n  \"y\",\n]\n"),
        ("packages = [\n  \"a\"]\n", "packages = [\n  \"a\",\n  \"x\",\n  \"y\"]\n"),
        ("packages = [\n  \"a\", \"b\",\n]\n", "packages = [\n  \"a\", \"b\", \"x\", \"y\",\n]\n"),
        ("packages = [\r\n  \"a\",\r\n]\r\n", "packages = [\r\n  \"a\",\r\n  \"x\",\r\n  \"y\",\r\n]\r\n"),
        // Where a new list goes.
        ("shell = \"/bin/sh\"\n", "packages = [\"x\", \"y\"]\n\nshell = \"/bin/sh\"\n"),
        ("# Shop\n\n[env]\nA = \"1\"\n", "# Shop\n\npackages = [\"x\", \"y\"]\n\n[env]\nA = \"1\"\n"),
        ("# of env\n[env]\nA = \"1\"\n", "packages = [\"x\", \"y\"]\n\n# of env\n[env]\nA = \"1\"\n"),
        ("# Shop", "# Shop"),
        ("base = \"host\" # mine\n[env]\n", "base = \"host\" # mine\npackages = [\"x\", \"y\"]\n[env]\n"),
        ("base = \"host\"", "base = \"host\"\npackages = [\"x\", \"y\"]"),
        ("name = \"a\"\r\nuser = \"me\"\r\n", "name = \"a\"\r\npackages = [\"x\", \"y\"]\r\nuser = \"me\"\r\n"),
        (
            "name = \"a\"\n\n# packages = [\"jq\"]  # like this\n\n# [env]\n",
            "name = \"a\"\n\n# packages = [\"jq\"]  # like this\npackages = [\"x\", \"y\"]\n\n# [env]\n",
        ),
        ("[env]\n# packages = []\n", "packages = [\"x\", \"y\"]\n\n[env]\n# packages = []\n"),
        ("network.mode = \"none\"\n", "packages = [\"x\", \"y\"]\n\nnetwork.mode = \"none\"\n"),
    ] {
        // A last line that has no end gets one.
        let after = if before == "# Shop" { "# Shop\npackages = [\"x\", \"y\"]\n" } else { after };
        assert_eq!(add_packages(before, &names(&["x", "y", "x"])).unwrap(), after, "{before}");
    }
    let same = "packages = [ 'x' , \"y\" ]";
    assert_eq!(add_packages(same, &names(&["y", "x"])).unwrap(), same);
}

#[test]
fn removes() {
    for (before, after) in [
        ("packages = [\"x\"]\n", "packages = []\n"),
        ("packages = [ \"x\" ]\n", "packages = [ ]\n"),
        ("packages = [\"a\", \"x\"]\n", "packages = [\"a\"]\n"),
        ("packages = [\"x\", 'b']\n", "packages = ['b']\n"),
        ("packages = [\"a\", \"x\", \"b\"] # c\n", "packages = [\"a\", \"b\"] # c\n"),
        ("packages = [\"x\", \"a\", \"x\",]\n", "packages = [\"a\", ]\n"),
        ("packages = [\n  \"a\", # one\n  \"x\", # two\n  \"b\",\n]\n", "packages = [\n  \"a\", # one\n  \"b\",\n]\n"),
        ("packages = [\n  \"a\",\n  # about x\n  \"x\"\n]\n", "packages = [\n  \"a\",\n  # about x\n]\n"),
        ("packages = [\r\n  \"x\",\r\n  \"b\",\r\n]\r\n", "packages = [\r\n  \"b\",\r\n]\r\n"),
        ("packages = [\n  \"a\", \"x\",\n]\n", "packages = [\n  \"a\", \n]\n"),
        ("packages = [\n  \"a\",\n  \"x\"]\n", "packages = [\n  \"a\",\n  ]\n"),
        ("packages = [\"a\"]\n", "packages = [\"a\"]\n"),
        ("[env]\nx = \"x\"\n", "[env]\nx = \"x\"\n"),
    ] {
        assert_eq!(remove_packages(before, &names(&["x"])).unwrap(), after, "{before}");
    }
}

#[test]
fn refuses_what_is_no_list_of_names() {
    for text in ["packages = 1", "packages = [1]", "[packages]", "packages = [[\"a\"]]", "packages = ["] {
        assert!(add_packages(text, &names(&["x"])).is_err(), "{text}");
        assert!(remove_packages(text, &names(&["x"])).is_err(), "{text}");
    }
}

proptest! {
    /// Whatever the layout, nothing but the list changes, and what was added can be removed again.
    #[test]
    fn the_rest_stays(
        items in prop::collection::vec("[a-z]{1,3}", 0..5),
        gaps in prop::collection::vec(prop_oneof![
            Just(""), Just(" "), Just("\n"), Just("\n  "), Just(" # c\n"), Just(" # \"q\", ]\n  "), Just("\r\n\t"),
        ], 12),
        trailing in any::<bool>(),
    ) {
        let mut text = format!("# head\nbase = \"host\"\npackages = [{}", gaps[0]);
        for (index, item) in items.iter().enumerate() {
            let comma = if trailing || index + 1 < items.len() { "," } else { "" };
            text += &format!("\"{item}\"{}{comma}{}", gaps[index * 2 + 1], gaps[index * 2 + 2]);
        }
        text += "] # end\n[env]\nA = \"x\"\n";
        let new = names(&["new-one", "new-two"]);
        let added = add_packages(&text, &new).unwrap();
        prop_assert!(added.starts_with("# head\nbase = \"host\"\npackages = ["));
        prop_assert!(added.ends_with("] # end\n[env]\nA = \"x\"\n"));
        prop_assert_eq!(added.matches('#').count(), text.matches('#').count());
        let removed = remove_packages(&added, &new).unwrap();
        prop_assert_eq!(packages(&removed).unwrap().values, items.clone());
        let emptied = remove_packages(&added, &items.into_iter().chain(new).collect::<Vec<_>>()).unwrap();
        prop_assert!(packages(&emptied).unwrap().values.is_empty());
    }
}
