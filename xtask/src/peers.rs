//! Installs the clients and servers that tests talk to, pinned, into `tests/.peers`, and the terminal that they look at.
//! Idempotent: what is there with the same pins stays. Nothing outside that folder is touched but for missing system
//! packages, where the user may add them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::{shell, tree};

/// One folder of installed peers and the pins it was installed from.
struct Part {
    folder: &'static str,
    pins: &'static [&'static str],
    /// What the system must have, asked for before anything old is removed.
    tools: fn() -> Result<(), Failure>,
    install: fn(&Path) -> Result<(), Failure>,
}

const PARTS: [Part; 3] = [
    Part {
        folder: "node",
        pins: &["package.json", "package-lock.json", ".npmrc"],
        tools: need_npm,
        install: install_npm,
    },
    Part { folder: "python-mcp2", pins: &["python-mcp2.txt"], tools: need_python, install: install_python },
    Part { folder: "python-mcp1", pins: &["python-mcp1.txt"], tools: need_python, install: install_python },
];

/// Written last into each folder: a copy of its pins. A folder without it is half installed.
const STAMP: &str = ".installed-from";

/// Installs every part whose pins changed, and lets the scripts of ours find their packages.
pub(crate) fn install() -> Result<(), Failure> {
    let folder = tree::installed();
    fs::create_dir_all(&folder).map_err(Failure::file(&folder))?;
    let lock = folder.join(".lock");
    // Two commands at once: the second finds everything up to date.
    let _held =
        File::create(&lock).and_then(|file| file.lock().map(|()| file)).map_err(Failure::file(&lock))?;
    // The terminal of the tests of `shadowcat watch`; of any version.
    need(&["tmux"], || shell::succeeds("tmux", &["-V"]))?;
    for part in &PARTS {
        part.bring_up_to_date()?;
    }
    link_packages()
}

impl Part {
    fn bring_up_to_date(&self) -> Result<(), Failure> {
        let folder = tree::installed().join(self.folder);
        let stamp = folder.join(STAMP);
        let pins = self.read_pins()?;
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == pins) {
            println!("peers: {} is up to date", self.folder);
            return Ok(());
        }
        println!("peers: installing {}", self.folder);
        (self.tools)()?;
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Failure::file(&folder))?;
        }
        fs::create_dir_all(&folder).map_err(Failure::file(&folder))?;
        for pin in self.pins {
            let copy = folder.join(pin);
            fs::copy(tree::peer_sources().join(pin), &copy).map_err(Failure::file(&copy))?;
        }
        (self.install)(&folder)?;
        fs::write(&stamp, pins).map_err(Failure::file(&stamp))
    }

    fn read_pins(&self) -> Result<String, Failure> {
        let mut pins = String::new();
        for pin in self.pins {
            let path = tree::peer_sources().join(pin);
            pins.push_str(&fs::read_to_string(&path).map_err(Failure::file(&path))?);
        }
        Ok(pins)
    }
}

fn need_npm() -> Result<(), Failure> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Failure::said("the Node that runs the peers is pinned for Linux on x86-64 only"));
    }
    need(&["nodejs", "npm"], || shell::succeeds("npm", &["--version"]))
}

fn install_npm(folder: &Path) -> Result<(), Failure> {
    // No package may run code of its own on this machine: none of the pinned ones needs to.
    shell::run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-progress"]).current_dir(folder))
}

fn need_python() -> Result<(), Failure> {
    need(&["python3", "python3-venv"], || shell::succeeds("python3", &["-c", "import ensurepip, venv"]))
}

fn install_python(folder: &Path) -> Result<(), Failure> {
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let requirements = format!("{}.txt", folder.file_name().unwrap_or_default().to_string_lossy());
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", &requirements];
    shell::run(Command::new(folder.join("bin/python")).args(install).current_dir(folder))
}

/// Makes sure that a tool is there, from Debian's packages where the user may install them.
fn need(packages: &[&str], is_there: impl Fn() -> bool) -> Result<(), Failure> {
    if is_there() {
        return Ok(());
    }
    let names = packages.join(" ");
    if !rustix::process::geteuid().is_root() || !shell::succeeds("apt-get", &["--version"]) {
        return Err(Failure::said(format!(
            "missing on this system: {names} (Debian: sudo apt-get install {names})"
        )));
    }
    shell::run(Command::new("apt-get").arg("update"))?;
    shell::run(Command::new("apt-get").args(["install", "--yes", "--no-install-recommends"]).args(packages))?;
    if is_there() { Ok(()) } else { Err(Failure::said(format!("installed {names}, but they do not work"))) }
}

/// Node looks for packages beside a script and above it, and the scripts live in `tests/peers`.
fn link_packages() -> Result<(), Failure> {
    let link = tree::peer_sources().join("node_modules");
    let target = PathBuf::from("../.peers/node/node_modules");
    if fs::read_link(&link).is_ok_and(|current| current == target) {
        return Ok(());
    }
    std::os::unix::fs::symlink(&target, &link).map_err(Failure::file(&link))
}
