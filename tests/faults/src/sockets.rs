//! Which connections processes have, by what the kernel says.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

/// The address and port of the two ends of a connection.
type Ends = (String, String);

/// As the table says it.
const ESTABLISHED: &str = "01";

/// How many TCP connections there are between two processes, counted where both ends stand.
pub(crate) fn connections(a: u32, b: u32) -> usize {
    let (of_a, of_b) = (established(a), established(b));
    of_a.iter().filter(|(here, there)| of_b.contains(&(there.clone(), here.clone()))).count()
}

/// How many UDP sockets a process has.
pub(crate) fn udp(pid: u32) -> usize {
    let known: HashSet<String> = table(pid, "udp").into_iter().map(|socket| socket.inode).collect();
    inodes(pid).iter().filter(|inode| known.contains(*inode)).count()
}

fn established(pid: u32) -> Vec<Ends> {
    let sockets = table(pid, "tcp").into_iter().filter(|socket| socket.state == ESTABLISHED);
    let mut by_inode: HashMap<String, Ends> =
        sockets.map(|socket| (socket.inode, socket.ends)).collect();
    inodes(pid).iter().filter_map(|inode| by_inode.remove(inode)).collect()
}

/// What the kernel says of a socket.
struct Socket {
    ends: Ends,
    state: String,
    inode: String,
}

/// All sockets of a protocol where a process is.
fn table(pid: u32, protocol: &str) -> Vec<Socket> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/{protocol}")).unwrap_or_default();
    let socket = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let [_, local, remote, state, _, _, _, _, _, inode, ..] = columns[..] else { return None };
        let ends = (local.into(), remote.into());
        Some(Socket { ends, state: state.into(), inode: inode.into() })
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// The sockets that a process has open.
fn inodes(pid: u32) -> HashSet<String> {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return HashSet::new() };
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let inode = |link: std::path::PathBuf| {
        Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    links.filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

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

    #[test]
    fn a_socket_is_counted_while_it_is_open() {
        let me = std::process::id();
        let before = udp(me);
        let sockets = [0; 3].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        assert_eq!(udp(me), before + 3);
        drop(sockets);
        assert_eq!(udp(me), before);
    }
}
