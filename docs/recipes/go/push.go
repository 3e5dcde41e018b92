// Receiver of webhooks: learns of messages for users who are away, to send them a push notification.
//
//	CHAT_WEBHOOK_SECRET=… go run push.go PORT
//
// The node posts to webhook.url, signed with webhook.secret as Standard Webhooks specifies.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

type post struct {
	Type    string
	ID      string
	Message struct {
		U string
		B struct{ Text string }
	}
	Offline []struct {
		U     string
		Muted bool
	}
}

type receiver struct {
	key []byte
	// Ids of the posts that were handled: each is posted at least once. A database replaces this in an application.
	mutex   sync.Mutex
	handled map[string]bool
}

// verified returns whether the post is from a node with this secret, unchanged, and not older than five minutes.
func (r *receiver) verified(header http.Header, body []byte) bool {
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, r.key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	expected := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	for _, one := range strings.Split(header.Get("webhook-signature"), " ") {
		if hmac.Equal(expected, []byte(one)) {
			return true
		}
	}
	return false
}

func (r *receiver) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, 1<<20))
	if err != nil {
		response.WriteHeader(http.StatusBadRequest)
		return
	}
	if !r.verified(request.Header, body) {
		response.WriteHeader(http.StatusUnauthorized)
		return
	}
	var p post
	if err := json.Unmarshal(body, &p); err != nil {
		response.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if p.Type == "message" && !r.handled[p.ID] {
		for _, user := range p.Offline {
			if !user.Muted {
				// Here the application calls its push service.
				fmt.Printf("push to %s: %s: %s\n", user.U, p.Message.U, p.Message.B.Text)
			}
		}
		r.handled[p.ID] = true
	}
	// Only now: a node repeats what is not answered with 2xx.
	response.WriteHeader(http.StatusNoContent)
}

func main() {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("CHAT_WEBHOOK_SECRET"), "whsec_"))
	if err != nil {
		log.Fatal(err)
	}
	if len(os.Args) != 2 {
		log.Fatal("usage: push PORT")
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], &receiver{key: key, handled: map[string]bool{}}))
}
