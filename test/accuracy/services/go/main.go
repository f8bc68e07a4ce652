// hop HOP WAY: net/http as server and as client, timers between the calls.
//
//	sequential  calls one after the other
//	parallel    each call in a goroutine of its own, all at once
//	proxy       httputil.ReverseProxy before hop a: /n/ID is passed on as /a/ID
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

var calls = map[string][]string{"a": {"b", "c"}, "b": {"d"}}
var ports = map[string]int{"n": 8000, "a": 8001, "b": 8002, "c": 8003, "d": 8004}
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func childID(id, hop string) string {
	if !strings.HasPrefix(id, "h") {
		return id
	}
	sum := sha256.Sum256([]byte(id + "/" + hop))
	return "h" + hex.EncodeToString(sum[:])[:15]
}

func pause() {
	time.Sleep(time.Duration(rand.Intn(2000)) * time.Microsecond)
}

func get(hop, id string) (string, error) {
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/%s/%s", ports[hop], hop, childID(id, hop)))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d", hop, response.StatusCode)
	}
	return string(body), err
}

func callAll(hop, id string, parallel bool) ([]string, error) {
	targets := calls[hop]
	parts, failures := make([]string, len(targets)), make([]error, len(targets))
	var all sync.WaitGroup
	for at, target := range targets {
		if !parallel {
			parts[at], failures[at] = get(target, id)
			pause()
			continue
		}
		all.Add(1)
		go func(at int, target string) {
			defer all.Done()
			pause()
			parts[at], failures[at] = get(target, id)
		}(at, target)
	}
	all.Wait()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func answer(parallel bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		path := strings.Split(r.URL.Path, "/")
		pause()
		parts, err := callAll(path[1], path[2], parallel)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, "%s(%s)", path[1], strings.Join(parts, ","))
	}
}

func proxy() http.Handler {
	target, _ := url.Parse(fmt.Sprintf("http://127.0.0.1:%d", ports["a"]))
	handler := httputil.NewSingleHostReverseProxy(target)
	handler.Transport = client.Transport
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/a/" + strings.TrimPrefix(r.URL.Path, "/n/")
		handler.ServeHTTP(w, r)
	})
}

func main() {
	hop, way := os.Args[1], os.Args[2]
	var handler http.Handler = answer(way == "parallel")
	if way == "proxy" {
		handler = proxy()
	}
	log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", ports[hop]), handler))
}
