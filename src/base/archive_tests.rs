use std::cell::RefCell;
use std::process::Command;

use super::*;
use crate::base::tests::paths_below;
use crate::sys::testing::only_for_root;
use crate::userns::mapper::Offer;

/// Remembers what was begun.
#[derive(Default)]
struct Recorder(RefCell<Vec<String>>);

impl Progress for Recorder {
    fn begin(&self, what: &str, _total: Option<u64>) {
        self.0.borrow_mut().push(what.split(' ').next().unwrap_or_default().to_owned());
    }
    fn advance(&self, _done: u64) {}
    fn end(&self) {}
    fn note(&self, _text: &str) {}
}

/// A machine with an archive of a small root file system, made by the `tar` program.
struct Machine {
    directory: tempfile::TempDir,
    map: IdMap,
}

impl Machine {
    /// `None` for a user for whom a namespace is needed: tests run in threads. `tests/` covers that.
    fn new() -> Option<Self> {
        if !only_for_root() {
            return None;
        }
        let map = Offer::probe().map(0);
        let machine = Self { directory: tempfile::tempdir().unwrap(), map };
        std::fs::create_dir_all(machine.path("root/etc")).unwrap();
        std::fs::write(machine.path("root/etc/hostname"), "one\n").unwrap();
        machine.pack("base.tar");
        Some(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn pack(&self, name: &str) {
        let status = Command::new("tar")
            .args(["-C".as_ref(), self.path("root").as_os_str(), "-caf".as_ref(), self.path(name).as_os_str()])
            .arg(".")
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn prepare(&self, name: &str) -> (Result<RootLayers, BaseError>, Vec<String>) {
        let recorder = Recorder::default();
        let paths = paths_below(&self.path("home"));
        (prepare(&paths, &self.map, &self.path(name), UnpackLimits::default(), &recorder), recorder.0.into_inner())
    }

    fn store(&self) -> Store {
        Store::open(&self.path("home/data/devbox/store")).unwrap()
    }

    fn leftovers(&self) -> usize {
        std::fs::read_dir(self.store().path().join("tmp")).unwrap().count() - 1 + self.store().layers().unwrap().len()
    }
}

#[test]
fn an_archive_is_unpacked_once() {
    let Some(machine) = Machine::new() else { return };
    let (layers, steps) = machine.prepare("base.tar");
    let layers = layers.unwrap();
    assert_eq!(steps, ["reading", "unpacking"]);
    assert_eq!(std::fs::read_to_string(layers.lower[0].join("etc/hostname")).unwrap(), "one\n");
    let (again, steps) = machine.prepare("base.tar");
    assert_eq!((again.unwrap(), steps.len()), (layers.clone(), 0));
    // The same content under another name is read, not unpacked.
    std::fs::copy(machine.path("base.tar"), machine.path("copy.tar")).unwrap();
    let (copy, steps) = machine.prepare("copy.tar");
    assert_eq!((copy.unwrap(), steps), (layers.clone(), vec!["reading".to_owned()]));
    let record = machine.store().layers().unwrap().remove(0).record;
    assert_eq!((record.entries, record.size_bytes), (3, 4));
    // Another content of the same size and time is noticed.
    let meta = std::fs::metadata(machine.path("base.tar")).unwrap();
    std::fs::write(machine.path("root/etc/hostname"), "two\n").unwrap();
    machine.pack("base.tar");
    let file = File::options().write(true).open(machine.path("base.tar")).unwrap();
    file.set_modified(meta.modified().unwrap()).unwrap();
    let (changed, steps) = machine.prepare("base.tar");
    assert_eq!(steps, ["reading", "unpacking"]);
    let changed = changed.unwrap();
    assert_ne!(changed.id, layers.id);
    assert_eq!(std::fs::read_to_string(changed.lower[0].join("etc/hostname")).unwrap(), "two\n");
    // A damaged memory is forgotten.
    let known = Known::file(&machine.store(), &machine.path("base.tar"));
    std::fs::write(known, "{").unwrap();
    let (read, steps) = machine.prepare("base.tar");
    assert_eq!((read.unwrap(), steps), (changed, vec!["reading".to_owned()]));
    assert_eq!(machine.leftovers(), 2);
}

#[test]
fn a_compressed_archive_is_a_base() {
    let Some(machine) = Machine::new() else { return };
    machine.pack("base.tar.gz");
    let layers = machine.prepare("base.tar.gz").0.unwrap();
    assert!(layers.lower[0].join("etc/hostname").is_file());
}

#[test]
fn what_fails_leaves_nothing() {
    let Some(machine) = Machine::new() else { return };
    let whole = std::fs::read(machine.path("base.tar")).unwrap();
    std::fs::write(machine.path("cut.tar"), &whole[..2000]).unwrap();
    std::fs::write(machine.path("text.tar"), "no archive at all").unwrap();
    std::fs::create_dir(machine.path("directory.tar")).unwrap();
    let fifo = nix::unistd::mkfifo(&machine.path("fifo.tar"), nix::sys::stat::Mode::S_IRWXU);
    fifo.unwrap();
    std::fs::remove_dir_all(machine.path("root/etc")).unwrap();
    machine.pack("empty.tar");
    std::fs::write(machine.path("root/manifest.json"), "[]").unwrap();
    machine.pack("image.tar");
    let error = |name: &str| machine.prepare(name).0.unwrap_err();
    let text = format!("{}", std::error::Error::source(&error("cut.tar")).unwrap());
    assert!(text.contains("the archive is cut short"), "{text}");
    assert!(matches!(error("cut.tar"), BaseError::Unpack { .. }));
    assert!(matches!(error("text.tar"), BaseError::Unpack { .. }));
    assert!(matches!(error("missing.tar"), BaseError::Read { .. }));
    assert!(matches!(error("directory.tar"), BaseError::NotAFile { .. }));
    assert!(matches!(error("fifo.tar"), BaseError::NotAFile { .. }));
    assert!(matches!(error("empty.tar"), BaseError::NotARoot { .. }));
    // An archive of an image, but of none.
    assert!(machine.prepare("image.tar").0.is_err());
    assert_eq!(machine.leftovers(), 0);
}

#[test]
fn leftovers_of_the_killed_are_removed() {
    let Some(machine) = Machine::new() else { return };
    let dead = machine.store().path().join("tmp/layer-dead");
    std::fs::create_dir_all(dead.join("fs/etc")).unwrap();
    std::fs::write(dead.join("lock"), "").unwrap();
    machine.prepare("base.tar").0.unwrap();
    assert!(!dead.exists());
}
