package shell

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
)

// environment is the initial environment of a shell.
type environment struct {
	fixed    map[string]string
	exported []string
	ready    bool
}

// Get implements expand.Environ. While the runner is created, TMPDIR is a path that cannot exist, because the runner
// opens files there by itself.
func (e *environment) Get(name string) expand.Variable {
	if name == "TMPDIR" && !e.ready {
		return variable("/\x00", true)
	}
	if value, found := lookupEnv(e.exported, name); found {
		return variable(value, true)
	}
	if value, found := e.fixed[name]; found {
		return variable(value, false)
	}
	// otherwise the interpreter would look up the user on the host
	if home, ok := strings.CutPrefix(name, "HOME "); ok {
		return variable("~"+home, false)
	}
	return expand.Variable{}
}

// Each implements expand.Environ.
func (e *environment) Each(do func(string, expand.Variable) bool) {
	for name, value := range e.fixed {
		if !do(name, variable(value, false)) {
			return
		}
	}
	for _, entry := range e.exported {
		name, value, _ := strings.Cut(entry, "=")
		if !do(name, variable(value, true)) {
			return
		}
	}
}

func variable(value string, exported bool) expand.Variable {
	return expand.Variable{Set: true, Kind: expand.String, Str: value, Exported: exported}
}

// exported returns the environment of the shell's commands, sorted.
func exported(env expand.Environ) []string {
	values := map[string]string{}
	for name, v := range env.Each {
		delete(values, name)
		if v.IsSet() && v.Exported && v.Kind == expand.String {
			values[name] = v.Str
		}
	}
	var list []string
	for name, value := range values {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// measure ends the command if the variables have become too large.
func (sh *interpreter) measure(env expand.Environ) bool {
	size := 0
	for name, v := range env.Each {
		size += len(name) + len(v.Str)
		for _, element := range v.List {
			size += len(element) + 16
		}
		for key, element := range v.Map {
			size += len(key) + len(element) + 32
		}
	}
	if size > sh.variables+maxVariables {
		sh.session.fail("sh: out of memory: variables are too large", 2)
		return false
	}
	return true
}
