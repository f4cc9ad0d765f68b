//! Which connections two processes have, by what the kernel says.

use std::{collections::HashMap, fs};

/// The address and port of the two ends of a connection.
type Ends = (String, String);

/// How many TCP connections there are between two processes, counted where both ends stand.
pub(crate) fn connections(a: u32, b: u32) -> usize {
    let (of_a, of_b) = (established(a), established(b));
    of_a.iter().filter(|(here, there)| of_b.contains(&(there.clone(), here.clone()))).count()
}

fn established(pid: u32) -> Vec<Ends> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let mut by_inode: HashMap<&str, Ends> = HashMap::new();
    for line in table.lines().skip(1) {
        let columns: Vec<_> = line.split_whitespace().collect();
        if let [_, local, remote, "01", _, _, _, _, _, inode, ..] = columns[..] {
            by_inode.insert(inode, (local.into(), remote.into()));
        }
    }
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let of_link = |link: std::path::PathBuf| {
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
        by_inode.get(&*inode).cloned()
    };
    links.filter_map(of_link).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_counted_while_it_stands() {
        let me = std::process::id();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = format!(":{:04X}", listener.local_addr().unwrap().port());
        let count = || established(me).iter().filter(|(here, _)| here.ends_with(&port)).count();
        assert_eq!(count(), 0);
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap();
        assert_eq!(count(), 1);
        assert!(connections(me, me) >= 2, "each end is one, seen from the other");
        drop((dialled, accepted));
        assert_eq!(count(), 0);
    }
}
