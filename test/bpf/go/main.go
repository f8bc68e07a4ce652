// calls: serves on a port of its own, which it prints. /leaf answers; /all calls /leaf once, then three times at once.
package main

import (
	"fmt"
	"net"
	"net/http"
	"sync"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	leaf := "http://" + listener.Addr().String() + "/leaf?"
	call := func(name string) {
		response, err := http.Get(leaf + name)
		if err != nil {
			panic(err)
		}
		response.Body.Close()
	}
	http.HandleFunc("/leaf", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "leaf") })
	http.HandleFunc("/all", func(w http.ResponseWriter, r *http.Request) {
		call("first-" + r.URL.RawQuery)
		var all sync.WaitGroup
		for at := 0; at < 3; at++ {
			all.Add(1)
			go func() {
				defer all.Done()
				call("parallel-" + r.URL.RawQuery)
			}()
		}
		all.Wait()
		fmt.Fprint(w, "all")
	})
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, nil))
}
