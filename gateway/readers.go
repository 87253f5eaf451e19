package gateway

import "sync"

// readers are the goroutines that sessions start, so that their end can be waited for. Safe for concurrent use.
type readers struct {
	mu    sync.Mutex
	ended bool           // guarded by mu
	wg    sync.WaitGroup // added to under mu, and not once ended
}

// start runs f on a goroutine of its own. It does nothing once wait was called.
func (r *readers) start(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.wg.Go(f)
	}
}

// wait waits for what was started; nothing is started any more.
func (r *readers) wait() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.wg.Wait()
}
