<?php
// Behind Apache: one script for every hop, the path says which.
const CALLS = ['a' => ['b', 'c'], 'b' => ['d'], 'c' => [], 'd' => []];
const PORTS = ['a' => 8001, 'b' => 8002, 'c' => 8003, 'd' => 8004];

function child_id(string $id, string $hop): string
{
    return str_starts_with($id, 'h') ? 'h' . substr(hash('sha256', "$id/$hop"), 0, 15) : $id;
}

[, $hop, $id] = explode('/', $_SERVER['REQUEST_URI']);
usleep(random_int(0, 3000));
$parts = [];
foreach (CALLS[$hop] as $target) {
    $body = file_get_contents('http://127.0.0.1:' . PORTS[$target] . "/$target/" . child_id($id, $target));
    if ($body === false) {
        http_response_code(502);
        exit;
    }
    $parts[] = $body;
    usleep(random_int(0, 2000));
}
header('Content-Type: text/plain');
echo "$hop(" . implode(',', $parts) . ')';
