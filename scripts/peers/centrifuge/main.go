// Command centrifuge is a small server on the centrifuge library, to be measured beside others: JSON over WebSocket, anybody may follow any channel, and
// Centrifugo's batches by HTTP to publish.
//
//	centrifuge -listen 127.0.0.1:8000 [-redis 127.0.0.1:6379]
//
// Without Redis it is a server by itself; with it several of them are one. Messages are kept for a minute, as its recovery demands.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
)

const (
	historySize = 1000
	historyTTL  = time.Minute
	headTimeout = 10 * time.Second
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "address for clients and publishers")
	redis := flag.String("redis", "", "address of Redis; empty for none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, *listen, *redis)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "centrifuge:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, redis string) error {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return err
	}
	if redis != "" {
		if err := useRedis(node, redis); err != nil {
			return err
		}
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{EnableRecovery: true}}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{CheckOrigin: func(*http.Request) bool { return true }}))
	mux.HandleFunc("POST /api/batch", func(w http.ResponseWriter, r *http.Request) { batch(node, w, r) })
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: headTimeout}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return errors.Join(node.Shutdown(end), server.Close())
}

// useRedis has publications, and who is where, go through Redis.
func useRedis(node *centrifuge.Node, addr string) error {
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: addr})
	if err != nil {
		return err
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	if err != nil {
		return err
	}
	node.SetBroker(broker)
	return nil
}

// batch takes Centrifugo's batches of publish commands.
func batch(node *centrifuge.Node, w http.ResponseWriter, r *http.Request) {
	var req struct {
		Commands []struct {
			Publish struct {
				Channel string          `json:"channel"`
				Data    json.RawMessage `json:"data"`
			} `json:"publish"`
		} `json:"commands"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	replies := make([]map[string]any, 0, len(req.Commands))
	for _, c := range req.Commands {
		reply := map[string]any{"publish": map[string]any{}}
		if _, err := node.Publish(c.Publish.Channel, c.Publish.Data, centrifuge.WithHistory(historySize, historyTTL)); err != nil {
			reply = map[string]any{"error": map[string]any{"code": 100, "message": err.Error()}}
		}
		replies = append(replies, reply)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"replies": replies}) // the publisher is gone
}
