// Back end of an application: registers users, gives them a conversation, and mints a token for one of them.
//
//	CHAT_URL=… CHAT_SECRET=… CHAT_API_KEY=… go run backend.go USER OTHER...
//
// It prints what the application hands to the device of USER, who is signed in there: the user, a token and the
// conversation. The standard library is enough; a library for JWT makes the same token.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sort"
	"strings"
	"time"
)

// access is what a device needs.
type access struct {
	User  string `json:"user"`
	Token string `json:"token"`
	C     string `json:"c"`
}

type user struct {
	U    string `json:"u"`
	Name string `json:"name"`
}

// problem is a refusal over HTTP.
type problem struct {
	Code    string `json:"code"`
	Detail  string `json:"detail"`
	RetryMs *int64 `json:"retry_ms"`
}

var client = http.Client{Timeout: 15 * time.Second}

// mintToken makes a JWT that every node accepts: HS256 with the secret of auth.secret, the user in sub, an end in exp.
func mintToken(secret, user string, life time.Duration) (string, error) {
	now := time.Now()
	header := map[string]string{"alg": "HS256", "typ": "JWT"}
	claims := map[string]any{"sub": user, "iat": now.Unix(), "exp": now.Add(life).Unix()}
	var parts []string
	for _, part := range []any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	signed := strings.Join(parts, ".")
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}

// serverAPI sends a request with the API key. After a temporary refusal or a lost answer it is sent again, which is safe:
// users are a state, and a conversation has a cid.
func serverAPI(method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		wait, err := exchange(method, path, text, answer)
		if err == nil {
			return nil
		}
		if wait == 0 || attempt == 5 {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		time.Sleep(wait)
	}
}

// exchange sends a request once. With an error it returns the time to wait before the next attempt, 0 if none would help.
func exchange(method, path string, body []byte, answer any) (time.Duration, error) {
	request, err := http.NewRequest(method, os.Getenv("CHAT_URL")+"/v1/server/"+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("CHAT_API_KEY"))
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return time.Second, err
	}
	defer response.Body.Close()
	if response.StatusCode < 300 {
		return time.Second, json.NewDecoder(response.Body).Decode(answer)
	}
	var refusal problem
	if err := json.NewDecoder(response.Body).Decode(&refusal); err != nil {
		return time.Second, fmt.Errorf("status %d", response.StatusCode)
	}
	err = fmt.Errorf("%s: %s", refusal.Code, refusal.Detail)
	if refusal.RetryMs == nil {
		return 0, err
	}
	return time.Duration(*refusal.RetryMs) * time.Millisecond, err
}

func run(people []string) error {
	if len(people) < 2 {
		return errors.New("usage: backend USER OTHER...")
	}
	var users []user
	for _, u := range people {
		users = append(users, user{U: u, Name: strings.ToUpper(u[:1]) + u[1:]})
	}
	var verdicts struct {
		Items []struct {
			U, Err, Msg string
			Ok          bool
		}
	}
	if err := serverAPI("POST", "users", map[string]any{"users": users}, &verdicts); err != nil {
		return err
	}
	for _, verdict := range verdicts.Items {
		if !verdict.Ok {
			return fmt.Errorf("%s: %s: %s", verdict.U, verdict.Err, verdict.Msg)
		}
	}
	// The same people get the same conversation, however often and from whichever of them this is called.
	sorted := append([]string(nil), people...)
	sort.Strings(sorted)
	room := fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(sorted, "\x00"))))[:32]
	var conversation struct{ C string }
	err := serverAPI("POST", "conversations", map[string]any{
		"kind": "group", "owner": sorted[0], "members": sorted[1:], "title": "Order 1001", "cid": "order-" + room,
	}, &conversation)
	if err != nil {
		return err
	}
	token, err := mintToken(os.Getenv("CHAT_SECRET"), people[0], 15*time.Minute)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(access{User: people[0], Token: token, C: conversation.C})
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
