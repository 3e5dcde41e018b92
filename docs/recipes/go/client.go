// Client: shows the messages of its user's conversations, and sends each line of the keyboard to one of them.
//
//	CHAT_URL=… go run client.go ACCESS.json
//
// ACCESS.json is what backend.go printed. Messages go out over REST, and come in as server-sent events.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// access is what a device needs. An application asks its back end for it, and again when the token has expired.
type access struct{ User, Token, C string }

// event is one of a conversation's log, or of the session.
type event struct {
	T       string  `json:"t"`
	C       string  `json:"c"`
	S       uint64  `json:"s"`
	U       string  `json:"u"`
	B       body    `json:"b"`
	Deleted bool    `json:"deleted"`
	Events  []event `json:"events"`
	User    string  `json:"user"`
	Resumed bool    `json:"resumed"`
}

type body struct {
	Text string `json:"text"`
}

// problem is a refusal over HTTP.
type problem struct {
	Code    string `json:"code"`
	Detail  string `json:"detail"`
	RetryMs *int64 `json:"retry_ms"`
}

var (
	base   = os.Getenv("CHAT_URL")
	client = http.Client{Timeout: 15 * time.Second}
	// The last position applied of each conversation.
	seen = map[string]uint64{}
)

func mine() access {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	var a access
	if err := json.Unmarshal(text, &a); err != nil {
		fail(err)
	}
	return a
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}

// call sends a request until it is answered for good. A repetition with the same key is the same message.
func call(method, path, key string, body, answer any) {
	text, err := json.Marshal(body)
	if err != nil {
		fail(err)
	}
	for pause := 500 * time.Millisecond; ; pause = longer(pause) {
		request, err := http.NewRequest(method, base+path, bytes.NewReader(text))
		if err != nil {
			fail(err)
		}
		request.Header.Set("Authorization", "Bearer "+mine().Token)
		request.Header.Set("Content-Type", "application/json")
		if key != "" {
			request.Header.Set("Idempotency-Key", key)
		}
		response, err := client.Do(request)
		if err != nil {
			time.Sleep(pause)
			continue
		}
		if response.StatusCode < 300 {
			if answer != nil {
				err = json.NewDecoder(response.Body).Decode(answer)
			}
			response.Body.Close()
			if err == nil {
				return
			}
			time.Sleep(pause)
			continue
		}
		refusal := refused(response)
		if refusal.RetryMs == nil {
			fail(fmt.Sprintf("%s %s: %s: %s", method, path, refusal.Code, refusal.Detail))
		}
		time.Sleep(time.Duration(*refusal.RetryMs) * time.Millisecond)
	}
}

func refused(response *http.Response) problem {
	defer response.Body.Close()
	refusal := problem{Code: response.Status}
	// A proxy may answer with another kind of body; the status is the code then.
	_ = json.NewDecoder(response.Body).Decode(&refusal)
	return refusal
}

func longer(pause time.Duration) time.Duration {
	if pause < 16*time.Second {
		return 2 * pause
	}
	return pause
}

// apply applies an event of a conversation's log, in order and once. It returns false if events before it are missing.
func apply(e event, jump bool) bool {
	if e.S <= seen[e.C] {
		return true
	}
	if e.S != seen[e.C]+1 && !jump {
		return false
	}
	seen[e.C] = e.S
	if e.T == "msg" && !e.Deleted {
		fmt.Printf("%s: %s\n", e.U, e.B.Text)
		if e.U != mine().User {
			call("PUT", "/v1/conversations/"+e.C+"/read", "", map[string]uint64{"s": e.S}, nil)
		}
	}
	return true
}

// catchUp reads what is missing in every conversation.
func catchUp() {
	have := [][2]any{}
	for c, s := range seen {
		have = append(have, [2]any{c, s})
	}
	request := map[string]any{"have": have}
	for {
		var delta struct {
			Items []struct{ Events []event }
			Next  *string
		}
		call("POST", "/v1/sync", "", request, &delta)
		for _, item := range delta.Items {
			for _, e := range item.Events {
				// Behind a gap the newest events stand alone; earlier ones are no longer kept.
				apply(e, true)
			}
		}
		if delta.Next == nil {
			return
		}
		request["cursor"] = *delta.Next
	}
}

func handle(e event) {
	switch {
	case e.T == "ready":
		fmt.Printf("connected as %s\n", e.User)
		if !e.Resumed {
			catchUp()
		}
	case e.T == "resync" || e.T == "activity":
		catchUp()
	case e.T == "conv":
		for _, part := range e.Events {
			apply(part, true)
		}
	case e.S > 0:
		if _, known := seen[e.C]; !apply(e, !known) {
			catchUp()
		}
	}
}

// listen reads the event stream, and continues it behind the last event, at this node or another.
func listen() {
	last := ""
	for pause := 500 * time.Millisecond; ; pause = longer(pause) {
		wait := stream(&last)
		if wait > 0 {
			pause = wait
		}
		time.Sleep(pause)
	}
}

// stream reads one connection to its end. It returns the time after which the server expects the next one, 0 if unknown.
func stream(last *string) time.Duration {
	device := url.QueryEscape(mine().User + "-terminal")
	request, err := http.NewRequest("GET", base+"/v1/events?device="+device, nil)
	if err != nil {
		fail(err)
	}
	request.Header.Set("Authorization", "Bearer "+mine().Token)
	if *last != "" {
		request.Header.Set("Last-Event-ID", *last)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		fmt.Println("!", err)
		return 0
	}
	if response.StatusCode != http.StatusOK {
		refusal := refused(response)
		fmt.Printf("! %s: %s\n", refusal.Code, refusal.Detail)
		if refusal.RetryMs == nil {
			return 5 * time.Second
		}
		return time.Duration(*refusal.RetryMs) * time.Millisecond
	}
	defer response.Body.Close()
	// The server sends a comment every 15 s: 40 s of silence are a dead connection.
	silence := time.AfterFunc(40*time.Second, func() { response.Body.Close() })
	defer silence.Stop()
	var kind, data, id string
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		silence.Reset(40 * time.Second)
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			if data == "" {
				continue
			}
			if kind == "close" {
				var end struct {
					Code    int
					RetryMs int64 `json:"retry_ms"`
				}
				if err := json.Unmarshal([]byte(data), &end); err != nil || end.Code >= 4400 {
					fail("closed: " + data)
				}
				return time.Duration(end.RetryMs) * time.Millisecond
			}
			var e event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				fail(err)
			}
			handle(e)
			*last, kind, data = id, "", ""
		}
	}
	return 0
}

func main() {
	if len(os.Args) != 2 {
		fail("usage: client ACCESS.json")
	}
	go listen()
	keyboard := bufio.NewScanner(os.Stdin)
	for keyboard.Scan() {
		key := make([]byte, 16)
		if _, err := rand.Read(key); err != nil {
			fail(err)
		}
		message := map[string]any{"b": body{Text: keyboard.Text()}}
		call("POST", "/v1/conversations/"+mine().C+"/messages", hex.EncodeToString(key), message, nil)
	}
}
