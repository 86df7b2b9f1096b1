use super::*;
use std::os::unix::net::UnixStream;

fn fate(peer: &Peer) -> Fate {
    peer.fate(&Context::from_waker(Waker::noop()))
}

#[test]
fn a_caller_that_sends_no_head_for_75_seconds_is_let_go_and_one_that_asks_now_and_then_is_not() {
    let (_far, near) = UnixStream::pair().unwrap();
    let peers = Peers::default();
    let [silent, busy, now_and_then] = [(); 3].map(|()| peers.enter(&near).unwrap());
    let _in_progress = busy.begin();
    let looks = 75_000 / LOOK_EVERY.as_millis();
    for look in 0..looks {
        if look % 100 == 99 {
            drop(now_and_then.begin());
        }
        peers.look();
        assert_eq!(fate(&silent), Fate::Stay, "after {look} looks");
    }
    peers.look();
    assert_eq!([&silent, &busy, &now_and_then].map(fate), [Fate::Gone, Fate::Stay, Fate::Stay]);
}

#[test]
fn half_a_head_is_waited_for_10_seconds_however_it_drips() {
    let (_far, near) = UnixStream::pair().unwrap();
    let peers = Peers::default();
    let slow = peers.enter(&near).unwrap();
    peers.look();
    for look in 0..10_000 / LOOK_EVERY.as_millis() {
        slow.begin_head();
        peers.look();
        assert_eq!(fate(&slow), Fate::Stay, "after {look} looks");
    }
    slow.begin_head();
    peers.look();
    assert_eq!(fate(&slow), Fate::Gone);
}

#[test]
fn who_asks_for_answers_and_takes_none_is_let_go_after_30_seconds() {
    let (_far, near) = UnixStream::pair().unwrap();
    let peers = Peers::default();
    let [stalled, slow, waiting] = [(); 3].map(|()| peers.enter(&near).unwrap());
    let mut answers = [&stalled, &slow, &waiting].map(Peer::begin);
    answers[0].gives(true);
    for look in 0..=30_000 / LOOK_EVERY.as_millis() {
        if look % 50 == 0 {
            answers[1].gives(true);
        }
        assert_eq!(fate(&stalled), Fate::Stay, "after {look} looks");
        peers.look();
    }
    peers.look();
    assert_eq!([&stalled, &slow, &waiting].map(fate), [Fate::Gone, Fate::Stay, Fate::Stay]);
}

#[test]
fn who_is_slow_to_take_its_answer_is_not_taken_for_silent() {
    use std::io::{Read as _, Write as _};
    let (mut far, mut near) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let peers = Peers::default();
    let slow = peers.enter(&near).unwrap();
    let mut sent = 0;
    while let Ok(bytes) = near.write(&[0; 4096]) {
        sent += bytes;
    }
    for _ in 0..2 * IDLE_LOOKS {
        peers.look();
    }
    peers.tell(Fate::Leave);
    peers.look();
    assert_eq!(fate(&slow), Fate::Leave);
    far.read_exact(&mut vec![0; sent]).unwrap();
    peers.look();
    assert_eq!(fate(&slow), Fate::Gone);
}

#[test]
fn an_answer_that_is_cut_off_ends_with_a_reset_and_an_idle_connection_does_not() {
    use std::{
        io::{ErrorKind, Read as _},
        net::{TcpListener, TcpStream},
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for (has_request, expected) in [(true, Err(ErrorKind::ConnectionReset)), (false, Ok(0))] {
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        let peers = Peers::default();
        let peer = peers.enter(&near).unwrap();
        let in_progress = has_request.then(|| peer.begin());
        peers.tell(Fate::Gone);
        drop((near, peer, in_progress));
        assert_eq!(far.read(&mut [0]).map_err(|error| error.kind()), expected);
    }
}

#[test]
fn who_is_to_leave_may_finish_its_request_and_take_the_answer() {
    let (_far, near) = UnixStream::pair().unwrap();
    let peers = Peers::default();
    let [idle, busy] = [(); 2].map(|()| peers.enter(&near).unwrap());
    let in_progress = busy.begin();
    peers.tell(Fate::Leave);
    peers.look();
    peers.look();
    assert_eq!([&idle, &busy].map(fate), [Fate::Gone, Fate::Leave]);
    drop(in_progress);
    peers.look();
    assert_eq!(fate(&busy), Fate::Leave);
    peers.look();
    assert_eq!(fate(&busy), Fate::Gone);
    assert_eq!(fate(&peers.enter(&near).unwrap()), Fate::Leave, "who comes later is told too");
}
