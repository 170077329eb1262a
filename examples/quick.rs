#![allow(clippy::all)]
fn main() {
    use devbox::boxes::session::*;
    let paths = devbox::paths::Paths::from_environment().unwrap();
    let cwd = std::env::current_dir().unwrap();
    let loaded = devbox::profile::Profile::load(&paths, &cwd).unwrap();
    let mut a: Vec<_> = std::env::args_os().skip(1).collect();
    let mut net=None; let mut rm=false;
    while let Some(f)=a.first() { if f=="--nonet" { net=Some(devbox::profile::NetworkMode::None); a.remove(0);} else if f=="--rm" {rm=true;a.remove(0);} else {break} }
    let o = Options{network:net,keep:false,throw_away:rm,directory:cwd};
    let what = if a.is_empty(){What::Shell}else{What::Command(a)};
    match run(&paths,&loaded,&what,&o,&devbox::progress::Silent) { Ok(c)=>std::process::exit(c), Err(e)=>{eprintln!("ERR {e:?}");std::process::exit(125)} }
}
