// Two HTTP services in one process, where the front calls the back; each answer says which goroutines were at work.
//
//	tasks serve            prints "port N" and serves until its standard input ends
//	tasks ask PORT PATH N  asks N times at once, prints each answer
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

func goroutine() string {
	var text [64]byte
	return string(bytes.Fields(text[:runtime.Stack(text[:], false)])[1])
}

type wrapped struct {
	net.Conn
	count int
}

func ask(client *http.Client, url string) string {
	answer, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return string(body)
}

func listen(handler http.Handler) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, handler)
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

func serve() {
	back := http.NewServeMux()
	back.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, goroutine()) })
	base := "http://127.0.0.1:" + listen(back)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}

	front := http.NewServeMux()
	front.HandleFunc("/sequential", func(w http.ResponseWriter, r *http.Request) {
		ask(client, base+"/one")
		ask(client, base+"/two")
		fmt.Fprint(w, "handler=", goroutine())
	})
	front.HandleFunc("/parallel", func(w http.ResponseWriter, r *http.Request) {
		var all sync.WaitGroup
		callers := make([]string, 3)
		for i := range callers {
			i := i
			all.Add(1)
			go func() {
				defer all.Done()
				callers[i] = goroutine()
				ask(client, base+"/parallel"+strconv.Itoa(i))
			}()
		}
		all.Wait()
		fmt.Fprint(w, "handler=", goroutine(), " callers=", strings.Join(callers, ","))
	})
	// Answers once two are being handled.
	var pair sync.WaitGroup
	pair.Add(2)
	front.HandleFunc("/pair", func(w http.ResponseWriter, r *http.Request) {
		pair.Done()
		pair.Wait()
		ask(client, base+"/of-pair")
		fmt.Fprint(w, "handler=", goroutine())
	})
	// Connections that wrap another one: TLS, and a type of one's own.
	secret := httptest.NewTLSServer(back)
	front.HandleFunc("/tls", func(w http.ResponseWriter, r *http.Request) {
		ask(secret.Client(), secret.URL)
		ask(secret.Client(), secret.URL)
		fmt.Fprint(w, "handler=", goroutine(), " port=", secret.Listener.Addr().(*net.TCPAddr).Port)
	})
	wrapping := &http.Client{Transport: &http.Transport{Dial: func(network, address string) (net.Conn, error) {
		conn, err := net.Dial(network, address)
		return &wrapped{conn, 1}, err
	}}}
	front.HandleFunc("/wrapped", func(w http.ResponseWriter, r *http.Request) {
		ask(wrapping, base+"/by-wrapped")
		fmt.Fprint(w, "handler=", goroutine())
	})
	fmt.Println("port " + listen(front))
	io.Copy(io.Discard, os.Stdin)
}

func main() {
	if os.Args[1] == "serve" {
		serve()
		return
	}
	count, _ := strconv.Atoi(os.Args[4])
	answers := make(chan string)
	for i := 0; i < count; i++ {
		go func() {
			answers <- ask(&http.Client{Transport: &http.Transport{}}, "http://127.0.0.1:"+os.Args[2]+os.Args[3])
		}()
	}
	for i := 0; i < count; i++ {
		fmt.Println(<-answers)
	}
}
