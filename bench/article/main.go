// The article's two reverse proxies, as short as it has them.
//
//	article send LISTEN=CONDITION... TUNNEL     stamps the header, sends all through one address
//	article receive LISTEN CONDITION=TARGET...  chooses the target by the header
//
// With ARTICLE_TUNED set, more than two connections to a target are kept.
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
)

const header = "X-Proxy-Condition"

func proxy(address string) *httputil.ReverseProxy {
	target, err := url.Parse("http://" + address)
	if err != nil {
		log.Fatal(err)
	}
	p := httputil.NewSingleHostReverseProxy(target)
	if os.Getenv("ARTICLE_TUNED") != "" {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 512
		t.DisableCompression = true
		p.Transport = t
	}
	return p
}

func send(args []string) {
	tunnel := proxy(args[len(args)-1])
	for _, pair := range args[:len(args)-1] {
		listen, condition, _ := strings.Cut(pair, "=")
		go func() {
			log.Fatal(http.ListenAndServe(listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set(header, condition)
				tunnel.ServeHTTP(w, r)
			})))
		}()
	}
	select {}
}

func receive(args []string) {
	targets := map[string]*httputil.ReverseProxy{}
	for _, pair := range args[1:] {
		condition, address, _ := strings.Cut(pair, "=")
		targets[condition] = proxy(address)
	}
	log.Fatal(http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, ok := targets[r.Header.Get(header)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		target.ServeHTTP(w, r)
	})))
}

func main() {
	if os.Args[1] == "send" {
		send(os.Args[2:])
	} else {
		receive(os.Args[2:])
	}
}
