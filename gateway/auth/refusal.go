package auth

import (
	"fmt"
	"net/http"
	"time"
)

// Refusal says why a client does not get what it wants. Its reason is one of [Reasons], its message is for a person and
// repeats nothing that is secret.
type Refusal struct { //nolint:errname // that it is an error too is by the way
	Status  int // HTTP status that says the same
	Reason  string
	Message string
	Retry   time.Duration // when it may be worth another try; 0: not without another token, or another answer of the application
}

func (r *Refusal) Error() string { return r.Reason + ": " + r.Message }

// Reasons for refusals. They are a closed set, and label values.
const (
	TokenMissing   = "token_missing"
	TokenMalformed = "token_malformed"
	TokenSignature = "token_signature"
	TokenExpired   = "token_expired"
	TokenEarly     = "token_early"
	TokenIssuer    = "token_issuer"
	TokenAudience  = "token_audience"
	TokenClaims    = "token_claims"
	TokenTopic     = "token_topic"
	TokenIdentity  = "token_identity"
	KeysMissing    = "keys_missing"
	TooLarge       = "identity_too_large"
	Denied         = "denied"
	AppError       = "app_error"
	AppDown        = "app_down"
	AppBusy        = "app_busy"
	NotAllowed     = "not_allowed"
)

// Reasons are all reasons of a [Refusal].
func Reasons() []string {
	return []string{
		TokenMissing, TokenMalformed, TokenSignature, TokenExpired, TokenEarly, TokenIssuer, TokenAudience, TokenClaims, TokenTopic, TokenIdentity,
		KeysMissing, TooLarge, Denied, AppError, AppDown, AppBusy, NotAllowed,
	}
}

// appRetry is what a client is told to wait when the application, or its keys, can't be reached.
const appRetry = 2 * time.Second

func unauthorized(reason, format string, args ...any) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func forbidden(reason, format string, args ...any) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func unavailable(reason, message string) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Reason: reason, Message: message, Retry: appRetry}
}
