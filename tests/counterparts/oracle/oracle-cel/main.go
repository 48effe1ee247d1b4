// Command oracle-cel answers what the API server makes of a CEL expression of its structured authentication: an oracle for
// the differential test.
//
// In: one JSON object per line, the expression and either the claims of a token or a user. Out: one JSON object per line:
// `{"load":…}` when it does not compile, `{"fault":…}` when its evaluation fails, else `{"value":…}`, written as
// canonical does.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/lazy"
)

// Question is one expression and what it reads: claims when there are any, else a user.
type Question struct {
	Expression string                     `json:"expression"`
	Claims     map[string]json.RawMessage `json:"claims"`
	User       *User                      `json:"user"`
}

// User is what a user validation rule reads.
type User struct {
	Username string              `json:"username"`
	UID      string              `json:"uid"`
	Groups   []string            `json:"groups"`
	Extra    map[string][]string `json:"extra"`
}

// Answer has exactly one member.
type Answer struct {
	Load  string `json:"load,omitempty"`
	Fault string `json:"fault,omitempty"`
	Value string `json:"value,omitempty"`
}

// anything lets an expression of every result type through: the verdict on the type is not what is compared.
type anything string

func (a anything) GetExpression() string      { return string(a) }
func (a anything) ReturnTypes() []*celgo.Type { return []*celgo.Type{celgo.AnyType} }

func main() {
	compiler := authenticationcel.NewDefaultCompiler()
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var question Question
		if err := json.Unmarshal(line, &question); err != nil {
			fmt.Fprintln(os.Stderr, "not a question:", err)
			os.Exit(2)
		}
		if err := encoder.Encode(answer(compiler, question)); err != nil {
			os.Exit(1)
		}
	}
}

// answer says so where the environment itself gave none, so that one expression does not end the comparison.
func answer(compiler authenticationcel.Compiler, question Question) (given Answer) {
	defer func() {
		if stopped := recover(); stopped != nil {
			given = Answer{Load: fmt.Sprint("no answer: ", stopped)}
		}
	}()
	if question.User != nil {
		compiled, err := compiler.CompileUserExpression(anything(question.Expression))
		if err != nil {
			return Answer{Load: err.Error()}
		}
		mapper := authenticationcel.NewUserMapper([]authenticationcel.CompilationResult{compiled})
		results, err := mapper.EvalUser(context.Background(), userValue(*question.User))
		if err != nil {
			return Answer{Fault: err.Error()}
		}
		return Answer{Value: canonical(results[0].EvalResult)}
	}
	compiled, err := compiler.CompileClaimsExpression(anything(question.Expression))
	if err != nil {
		return Answer{Load: err.Error()}
	}
	mapper := authenticationcel.NewClaimsMapper([]authenticationcel.CompilationResult{compiled})
	result, err := mapper.EvalClaimMapping(context.Background(), claimsValue(question.Claims))
	if err != nil {
		return Answer{Fault: err.Error()}
	}
	return Answer{Value: canonical(result.EvalResult)}
}

// claimsValue is what the API server's authenticator builds: each claim decoded by encoding/json, names unescaped.
func claimsValue(claims map[string]json.RawMessage) *lazy.MapValue {
	values := lazy.NewMapValue(types.NewObjectType("kubernetes.claims"))
	for name, raw := range claims {
		values.Append(name, func(*lazy.MapValue) ref.Val {
			var value any
			if err := json.Unmarshal(raw, &value); err != nil {
				return types.WrapErr(err)
			}
			return unescaping(types.DefaultTypeAdapter.NativeToValue(value))
		})
	}
	return values
}

func userValue(user User) *lazy.MapValue {
	values := lazy.NewMapValue(types.NewObjectType("kubernetes.UserInfo"))
	for name, field := range map[string]any{
		"username": user.Username, "uid": user.UID, "groups": user.Groups, "extra": user.Extra,
	} {
		values.Append(name, func(*lazy.MapValue) ref.Val {
			return unescaping(types.DefaultTypeAdapter.NativeToValue(field))
		})
	}
	return values
}

// unescaping makes `x__dot__y` find the key `x.y`, at every depth, as the API server does.
func unescaping(value ref.Val) ref.Val {
	switch value := value.(type) {
	case traits.Mapper:
		return unescapingMap{value}
	case traits.Lister:
		return unescapingList{value}
	default:
		return value
	}
}

type unescapingMap struct{ traits.Mapper }

func (m unescapingMap) Find(key ref.Val) (ref.Val, bool) {
	if escaped, ok := key.(types.String); ok {
		if name, ok := apiservercel.Unescape(string(escaped)); ok {
			key = types.String(name)
		}
	}
	value, found := m.Mapper.Find(key)
	return unescaping(value), found
}

type unescapingList struct{ traits.Lister }

func (l unescapingList) Get(index ref.Val) ref.Val { return unescaping(l.Lister.Get(index)) }

// canonical writes a value so that equal values of one type give equal text.
func canonical(value ref.Val) string {
	switch value := value.(type) {
	case types.Null:
		return "null"
	case types.Bool:
		return strconv.FormatBool(bool(value))
	case types.Int:
		return "int " + strconv.FormatInt(int64(value), 10)
	case types.Uint:
		return "uint " + strconv.FormatUint(uint64(value), 10)
	case types.Double:
		if math.IsNaN(float64(value)) {
			return "double NaN"
		}
		return "double " + strconv.FormatUint(math.Float64bits(float64(value)), 16)
	case types.String:
		return "string " + hex.EncodeToString([]byte(value))
	case types.Bytes:
		return "bytes " + hex.EncodeToString(value)
	case types.Timestamp:
		return fmt.Sprintf("timestamp %d.%09d", value.Unix(), value.Nanosecond())
	case types.Duration:
		return "duration " + strconv.FormatInt(int64(value.Duration/time.Nanosecond), 10)
	case *types.Optional:
		if !value.HasValue() {
			return "none"
		}
		return "some(" + canonical(value.GetValue()) + ")"
	case *types.Type:
		return "type " + typeName(value.TypeName())
	case traits.Mapper:
		return canonicalMap(value)
	case traits.Lister:
		return canonicalList(value)
	}
	switch native := value.Value().(type) {
	case netip.Addr:
		return "ip " + native.String()
	case netip.Prefix:
		return "cidr " + native.String()
	}
	return "other " + value.Type().TypeName()
}

func typeName(name string) string {
	if strings.HasPrefix(name, "kubernetes.") {
		return "map"
	}
	return name
}

func canonicalList(list traits.Lister) string {
	var items []string
	for it := list.Iterator(); it.HasNext() == types.True; {
		items = append(items, canonical(it.Next()))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func canonicalMap(mapper traits.Mapper) string {
	var entries []string
	for it := mapper.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		entries = append(entries, canonical(key)+": "+canonical(mapper.Get(key)))
	}
	sort.Strings(entries)
	return "{" + strings.Join(entries, ", ") + "}"
}
