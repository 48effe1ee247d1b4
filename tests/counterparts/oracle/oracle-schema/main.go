// Command oracle-schema prints what Kubernetes' own types look like, in JSON and in protobuf: an oracle for the table of policy/payload.
//
// Out, one JSON object: `kinds` says of which type an apiVersion and a kind are; `types` has the fields of each type that they reach, by their
// struct tags: the name in JSON, the number in protobuf (0: it has none), the form of the value (a type's name, or one of the
// words below), whether it is a pointer, and whether its fields stand in the parent. It reads nothing.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

type field struct {
	Name     string `json:"name"`
	Number   int    `json:"number"`
	Form     string `json:"form"`
	Optional bool   `json:"optional"`
	Inline   bool   `json:"inline"`
}

type said struct {
	Kinds map[string]string  `json:"kinds"`
	Types map[string][]field `json:"types"`
}

// Types whose form is not that of a struct: they have a marshaller of their own.
var words = map[reflect.Type]string{
	reflect.TypeOf(metav1.Time{}):                                "Time",
	reflect.TypeOf(metav1.MicroTime{}):                           "MicroTime",
	reflect.TypeOf(metav1.Duration{}):                            "Duration",
	reflect.TypeOf(metav1.FieldsV1{}):                            "Json1",
	reflect.TypeOf(runtime.RawExtension{}):                       "Json1",
	reflect.TypeOf(apiextensions.JSON{}):                         "Json1",
	reflect.TypeOf(resource.Quantity{}):                          "Quantity",
	reflect.TypeOf(intstr.IntOrString{}):                         "IntOrString",
	reflect.TypeOf(apiextensions.JSONSchemaPropsOrBool{}):        "Any",
	reflect.TypeOf(apiextensions.JSONSchemaPropsOrArray{}):       "Any",
	reflect.TypeOf(apiextensions.JSONSchemaPropsOrStringArray{}): "Any",
}

func main() {
	all := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensions.AddToScheme, apiregistration.AddToScheme} {
		if err := add(all); err != nil {
			panic(err)
		}
	}
	out := said{Kinds: map[string]string{}, Types: map[string][]field{}}
	for kind, known := range all.AllKnownTypes() {
		if known.PkgPath() == "k8s.io/apimachinery/pkg/apis/meta/v1" || kind.Version == runtime.APIVersionInternal {
			continue
		}
		version, name := kind.ToAPIVersionAndKind()
		out.Kinds[version+" "+name] = named(known)
		walk(known, out.Types)
	}
	for _, known := range []any{
		metav1.Status{}, metav1.List{}, metav1.PartialObjectMetadata{}, metav1.PartialObjectMetadataList{}, metav1.DeleteOptions{},
		metav1.Table{},
	} {
		walk(reflect.TypeOf(known), out.Types)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func named(of reflect.Type) string {
	return of.PkgPath() + "." + of.Name()
}

func walk(of reflect.Type, types map[string][]field) {
	name := named(of)
	if _, known := types[name]; known {
		return
	}
	types[name] = []field{}
	fields := []field{}
	for at := range of.NumField() {
		member := of.Field(at)
		if !member.IsExported() || member.Type == reflect.TypeOf(metav1.TypeMeta{}) {
			continue
		}
		tag, options, _ := strings.Cut(member.Tag.Get("json"), ",")
		if tag == "-" {
			continue
		}
		number := numberOf(member.Tag.Get("protobuf"))
		form, inner := formOf(member.Type)
		isInline := member.Anonymous && (tag == "" || strings.Contains(options, "inline"))
		if isInline {
			tag = "-"
		}
		fields = append(fields, field{
			Name: tag, Number: number, Form: form,
			Optional: member.Type.Kind() == reflect.Pointer, Inline: isInline,
		})
		if inner != nil {
			walk(inner, types)
		}
	}
	types[name] = fields
}

// The number in a tag such as `bytes,1,opt,name=metadata`. The word before it is not the wire type of each: that follows from the form.
func numberOf(tag string) int {
	parts := strings.Split(tag, ",")
	if len(parts) < 2 {
		return 0
	}
	number, err := strconv.Atoi(parts[1])
	if err != nil {
		panic(tag)
	}
	return number
}

// The form of a value, and the type to go on with, if it is a message.
func formOf(of reflect.Type) (string, reflect.Type) {
	if of.Kind() == reflect.Pointer {
		return formOf(of.Elem())
	}
	if word, known := words[of]; known {
		return word, nil
	}
	switch of.Kind() {
	case reflect.String:
		return "string", nil
	case reflect.Bool:
		return "bool", nil
	case reflect.Int32, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return of.Kind().String(), nil
	case reflect.Float64, reflect.Float32:
		return "Double", nil
	case reflect.Interface:
		return "Any", nil
	case reflect.Struct:
		return named(of), of
	case reflect.Map:
		form, inner := formOf(of.Elem())
		return "map:" + form, inner
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Uint8 {
			return "bytes", nil
		}
		// A named list of texts is a message of its own in protobuf.
		if of.Elem().Kind() == reflect.String && of.Name() != "" && of.PkgPath() != "" && isItems(of) {
			return "TextList", nil
		}
		form, inner := formOf(of.Elem())
		return "[]" + form, inner
	default:
		panic(of.String())
	}
}

// Whether protobuf has a message for this list (`+protobuf.nullable=true`, `+protobuf.options.(gogoproto.goproto_stringer)=false`).
func isItems(of reflect.Type) bool {
	_, marshals := reflect.PointerTo(of).MethodByName("MarshalToSizedBuffer")
	if !marshals {
		_, marshals = of.MethodByName("MarshalToSizedBuffer")
	}
	return marshals
}
