//! hop HOP: axum as server, reqwest as client on Tokio's threads.
use axum::{extract::Path, extract::State, http::StatusCode, routing::get, Router};
use sha2::{Digest, Sha256};

fn port(hop: &str) -> u16 {
    8001 + "abcd".find(hop).expect("a hop") as u16
}

fn calls(hop: &str) -> &'static [&'static str] {
    match hop {
        "a" => &["b", "c"],
        "b" => &["d"],
        _ => &[],
    }
}

fn child_id(id: &str, hop: &str) -> String {
    if !id.starts_with('h') {
        return id.to_string();
    }
    let sum = Sha256::digest(format!("{id}/{hop}"));
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("h{}", &hex[..15])
}

async fn answer(State(client): State<reqwest::Client>, Path((hop, id)): Path<(String, String)>) -> Result<String, StatusCode> {
    let mut parts = Vec::new();
    for target in calls(&hop) {
        let url = format!("http://127.0.0.1:{}/{}/{}", port(target), target, child_id(&id, target));
        let response = client.get(url).send().await.and_then(|one| one.error_for_status()).map_err(|_| StatusCode::BAD_GATEWAY)?;
        parts.push(response.text().await.map_err(|_| StatusCode::BAD_GATEWAY)?);
    }
    Ok(format!("{hop}({})", parts.join(",")))
}

#[tokio::main(worker_threads = 4)]
async fn main() {
    let hop = std::env::args().nth(1).expect("hop HOP");
    let app = Router::new().route("/:hop/:id", get(answer)).with_state(reqwest::Client::new());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port(&hop))).await.expect("its port is free");
    axum::serve(listener, app).await.expect("it serves");
}
