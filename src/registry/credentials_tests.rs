use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

struct Files {
    directory: tempfile::TempDir,
    credentials: Credentials,
}

impl Files {
    fn new(texts: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |number: usize| directory.path().join(number.to_string()).join("config.json");
        for (number, text) in texts.iter().enumerate() {
            fs::create_dir(directory.path().join(number.to_string())).unwrap();
            fs::write(path(number), text).unwrap();
        }
        let credentials = Credentials { files: (0..texts.len().max(1)).map(path).collect() };
        Self { directory, credentials }
    }

    fn find(&self, registry: &str, repository: &str) -> Option<String> {
        let login = self.credentials.find(registry, repository).unwrap()?;
        Some(format!("{}:{}", login.user, login.secret))
    }

    fn first(&self) -> String {
        fs::read_to_string(&self.credentials.files[0]).unwrap()
    }
}

fn auth(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

#[test]
fn the_closest_key_counts() {
    let text = json!({"auths": {
        "https://index.docker.io/v1/": {"auth": auth("hub:1")},
        "q.io": {"auth": auth("q:2")},
        "q.io/team": {"auth": auth("team:a:b")},
        "q.io/team/x": {},
        "https://old.io/v2/": {"auth": auth("old:3\0\0")},
        "plain.io:5000": {"username": "u", "password": "p"},
        "token.io": {"auth": auth("ignored:x"), "identitytoken": "secret"},
        "X.IO": {"auth": auth("x:4")},
    }})
    .to_string();
    let files = Files::new(&["", &text]);
    for (registry, repository, login) in [
        ("docker.io", "library/debian", Some("hub:1")),
        ("q.io", "x", Some("q:2")),
        ("q.io", "teams/x", Some("q:2")),
        ("q.io", "team/x/y", Some("team:a:b")),
        ("q.io:5000", "x", None),
        ("old.io", "x", Some("old:3")),
        ("plain.io:5000", "x", Some("u:p")),
        ("plain.io", "x", None),
        ("token.io", "x", Some("<token>:secret")),
        ("x.io", "x", Some("x:4")),
        ("", "x", None),
    ] {
        assert_eq!(files.find(registry, repository).as_deref(), login, "{registry}/{repository}");
    }
    assert!(files.credentials.find("token.io", "x").unwrap().unwrap().is_identity_token);
}

#[test]
fn nothing_is_lost_when_one_is_added() {
    let before = r#"{"psFormat": "x", "auths": {"a.io": {"auth": "YTpi", "email": "e"}}, "HttpHeaders": {"h": "v"}}"#;
    let files = Files::new(&[before]);
    let path = files.credentials.files[0].clone();
    let real = files.directory.path().join("real");
    fs::rename(&path, &real).unwrap();
    symlink(&real, &path).unwrap();
    files.credentials.store("docker.io", "me", "pass:word").unwrap();
    assert!(path.is_symlink(), "the symlink is kept");
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
    let mut expected: Value = serde_json::from_str(before).unwrap();
    expected["auths"][DOCKER_HUB_KEY] = json!({"auth": auth("me:pass:word")});
    assert_eq!(serde_json::from_str::<Value>(&files.first()).unwrap(), expected);
    assert_eq!(files.find("docker.io", "library/x").unwrap(), "me:pass:word");
    assert_eq!(files.credentials.erase("docker.io").unwrap().len(), 1);
    assert_eq!(serde_json::from_str::<Value>(&files.first()).unwrap(), serde_json::from_str::<Value>(before).unwrap());
    assert!(files.credentials.erase("docker.io").unwrap().is_empty());
}

#[test]
fn a_missing_file_is_made_private() {
    let files = Files::new(&[]);
    assert_eq!(files.find("a.io", "x"), None);
    let place = files.credentials.store("a.io:5000", "u", "p").unwrap();
    assert!(place.contains("config.json"), "{place}");
    let path = &files.credentials.files[0];
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(files.find("a.io:5000", "x").unwrap(), "u:p");
    assert!(matches!(files.credentials.store("a.io", "u:v", "p"), Err(CredentialError::User)));
}

#[test]
fn what_is_wrong_is_said() {
    for (text, expected) in [
        ("{", "is no file of logins"),
        ("[]", "is no file of logins"),
        (r#"{"auths": {"a.io": {"auth": "!!"}}}"#, "the login for `a.io`"),
        (r#"{"auths": {"a.io": {"auth": "YQ=="}}}"#, "the login for `a.io`"),
        (r#"{"credsStore": "../../evil"}"#, "cannot be a program"),
        (r#"{"credHelpers": {"a.io": "a b"}}"#, "cannot be a program"),
        (r#"{"credsStore": "devbox-test-missing"}"#, "`docker-credential-devbox-test-missing`"),
    ] {
        let error = Files::new(&[text]).credentials.find("a.io", "x").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(Files::new(&[r#"{"auths": []}"#]).credentials.store("a.io", "u", "p").is_err());
    let login = Login { user: "u".to_owned(), secret: "p".to_owned(), is_identity_token: false, from: "f".to_owned() };
    assert_eq!((login.basic(), format!("{login:?}")), ("Basic dTpw".to_owned(), "Login(\"u\" from f)".to_owned()));
}
