package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// A strict decoder reports one of these errors for each unknown field. It numbers the items of a list, as in
// registerWithTaints[0].efect. (sigs.k8s.io/json)
var (
	unknownField = regexp.MustCompile(`^unknown field "(.*)"$`)
	listItem     = regexp.MustCompile(`\[[0-9]+\]`)
)

// withNearestFields returns an error with the text of a strict decoding error, and adds the right field to each unknown
// field if there is one with a similar name. It returns other errors unchanged.
func withNearestFields(err error) error {
	strict, ok := runtime.AsStrictDecodingError(err)
	if !ok {
		return err
	}
	problems := strict.Errors()
	for i, problem := range problems {
		unknown := unknownField.FindStringSubmatch(problem.Error())
		if unknown == nil {
			continue
		}
		if nearest := nearestField(unknown[1]); nearest != "" {
			problems[i] = fmt.Errorf("%w (did you mean %s?)", problem, nearest)
		}
	}
	return runtime.NewStrictDecodingError(problems)
}

// nearestField returns the path of the KubeletConfiguration field that was probably meant by an unknown path, or an
// empty string if there is none or several are equally near. In order of preference, this is the field that
//   - differs only in case: cpuManagerPolicy for CPUManagerPolicy
//   - a kubelet flag of the unknown name sets: authentication.anonymous.enabled for anonymousAuth
//   - has the same name in another place: authentication.x509.clientCAFile for clientCAFile
//   - has a similar name in the same place: authentication.anonymous for authentication.anonymus
func nearestField(unknown string) string {
	unknown = strings.ToLower(listItem.ReplaceAllString(unknown, "[]"))
	name := unknown[strings.LastIndex(unknown, ".")+1:]
	parent := strings.TrimSuffix(unknown, name)
	var sameName []string
	similar, least, tie := "", max(1, len(name)/4)+1, false
	for _, path := range fieldPaths() {
		folded := strings.ToLower(path)
		if folded == unknown {
			return path
		}
		if strings.HasSuffix(folded, "."+unknown) || strings.HasSuffix("."+folded, "."+name) {
			sameName = append(sameName, path)
		}
		sibling, inside := strings.CutPrefix(folded, parent)
		if !inside || strings.Contains(sibling, ".") {
			continue
		}
		if distance := editDistance(name, sibling); distance < least {
			similar, least, tie = path, distance, false
		} else if distance == least {
			tie = true
		}
	}
	for _, flag := range facts().Flags {
		if flag.Field != "" && strings.ReplaceAll(flag.Name, "-", "") == strings.ReplaceAll(name, "-", "") {
			return flag.Field
		}
	}
	switch {
	case len(sameName) == 1:
		return sameName[0]
	case tie:
		return ""
	}
	return similar
}

// fieldPaths returns the paths of all fields of KubeletConfiguration. The path of a field in the items of a list
// contains [], as in registerWithTaints[].effect.
var fieldPaths = sync.OnceValue(func() []string {
	return appendFieldPaths(nil, "", reflect.TypeFor[kubeletconfigv1beta1.KubeletConfiguration]())
})

func appendFieldPaths(paths []string, prefix string, in reflect.Type) []string {
	for {
		if in.Kind() == reflect.Slice {
			prefix = strings.TrimSuffix(prefix, ".") + "[]."
		} else if in.Kind() != reflect.Pointer {
			break
		}
		in = in.Elem()
	}
	if in.Kind() != reflect.Struct || reflect.PointerTo(in).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return paths
	}
	for field := range in.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" && field.Anonymous {
			paths = appendFieldPaths(paths, prefix, field.Type)
			continue
		}
		paths = append(paths, prefix+name)
		paths = appendFieldPaths(paths, prefix+name+".", field.Type)
	}
	return paths
}

// editDistance returns how many letters must be inserted, removed, replaced or swapped with their neighbour to turn one
// text into the other (optimal string alignment).
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(replace, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
