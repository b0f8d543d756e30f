//! The stand-in behind a tiny HTTP server on this machine, for clients that want a socket: the judges, and a person with
//! curl.
//!
//! Not for anything else: HTTP/1.1 with Content-Length only, one request at a time for each connection, loopback only. It
//! prints its origin and stops when its standard input closes, so that no test leaves it behind.
//!
//! `cargo run -p stub-crm --example serve -- --port 0 --config '{"seed":1}'`

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stub_crm::{Answer, Config, Fate, Request, StubCrm};

const BODY_MAX: usize = 8 << 20;
const HEADERS_MAX: usize = 200;
const CONNECTIONS_MAX: usize = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let port: u16 = option("--port").map_or(Ok(0), |port| port.parse())?;
    let config: Config = option("--config").map_or(Ok(Config::default()), |text| serde_json::from_str(text))?;
    let crm = Arc::new(Mutex::new(StubCrm::new(config)));
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("http://{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let open = Arc::new(());
    for stream in listener.incoming() {
        let (stream, crm, open) = (stream?, Arc::clone(&crm), Arc::clone(&open));
        if Arc::strong_count(&open) <= CONNECTIONS_MAX {
            std::thread::spawn(move || {
                let _ = serve(&stream, &crm);
                drop(open);
            });
        }
    }
    Ok(())
}

fn serve(stream: &TcpStream, crm: &Mutex<StubCrm>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let is_head = request.method == "HEAD";
        let answer = {
            let Ok(mut crm) = crm.lock() else { return Ok(()) };
            crm.handle(&request, now_ms())
        };
        std::thread::sleep(Duration::from_millis(answer.delay_ms));
        if answer.fate != Fate::Deliver {
            return Ok(());
        }
        write(stream, &answer, is_head)?;
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "a program of its own on this machine, never in wasm")]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or_default()
}

fn line(reader: &mut impl std::io::BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    reader.take(65_536).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn read(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Request>> {
    let first = line(reader)?;
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next().filter(|word| !word.is_empty()), words.next()) else {
        return Ok(None);
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = line(reader)?;
        match line.split_once(':') {
            Some((name, value)) if headers.len() < HEADERS_MAX => {
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
            _ => break,
        }
    }
    let header = |wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value): &(String, String)| value.clone())
    };
    let mut body = Vec::new();
    if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = usize::from_str_radix(&line(reader)?, 16).unwrap_or(0);
            let mut chunk = vec![0; size.min(BODY_MAX)];
            reader.read_exact(&mut chunk)?;
            line(reader)?;
            body.extend(chunk);
            if size == 0 || body.len() > BODY_MAX {
                break;
            }
        }
    } else {
        let length: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        body = vec![0; length.min(BODY_MAX)];
        reader.read_exact(&mut body)?;
    }
    let url = format!("http://{}{target}", header("host").unwrap_or_default());
    Ok(Some(Request { method, url, headers, body }))
}

fn write(mut stream: &TcpStream, answer: &Answer, is_head: bool) -> std::io::Result<()> {
    let mut out = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", answer.status, answer.body.len()).into_bytes();
    if answer.status == 204 {
        out = b"HTTP/1.1 204 X\r\n".to_vec();
    }
    for (name, value) in &answer.headers {
        out.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    out.extend(b"\r\n");
    if answer.status != 204 && !is_head {
        out.extend(&answer.body);
    }
    stream.write_all(&out)
}
