// Package check checks how a kube-apiserver connects to kubelets: which of the kube-apiserver's flags for kubelets are
// right, which are missing, and what works but is unsafe.
//
// It creates Nodes that exist only for a short time, each with one pod. In place of the Nodes' kubelets, it listens for
// connections. It requests logs and streams through the public API, and examines both sides: the connection to the
// kubelet, and the response to the API client. It reads nothing from the machine of the kube-apiserver.
//
// # A check
//
// A check is one [Check] in a table. [Checks] returns the table. The run function of a check records evidence and
// problems in a [finding] with [finding.note], [finding.fail] and [finding.warn]. It returns an error if it could not
// complete, for example because an API request failed or no response came ([logResponse.text]). An error of the type
// [skipped] skips the check. The field Needs lists the checks that must pass first, so that one mistake fails only one
// check. Checks run concurrently and must not depend on checks that Needs does not list.
//
// # Building blocks
//
//   - [withHandshake] makes the run function of a check that examines the run's first connection. [withKubelet] makes
//     it for a check that needs one kubelet, and [withHostileKubelet] for a check that needs one kubelet that
//     misbehaves.
//   - [run.node] creates a Node with a pod. [nodeOptions] set its addresses and port.
//   - [run.kubelet] listens as a kubelet and registers a Node for it. By default it is a stand-in (package server)
//     that allows everything, and its serving certificate is one that the kube-apiserver accepts. The caller closes
//     the kubelet.
//   - [run.connectTo] makes the kube-apiserver connect to a kubelet, and returns the first connection.
//   - [hostileKubelet.try] sends a request while the kubelet misbehaves in one way (package hostile).
//   - [node.logs] requests a log with client-go. [node.send] sends a [userRequest] and returns the raw [reply].
//   - The field "states" of a kubelet has its [observed] connections.
//
// When the run ends, it deletes the Nodes and all other objects that it created.
package check

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"fauxlet/internal/color"
)

// Check is one check of a kube-apiserver.
type Check struct {
	// ID consists of the check's group and its name, for example reach.dialled.
	ID string `json:"id"`
	// Title states in a few words what is true if the check passes.
	Title string `json:"title"`
	// Flag is the kube-apiserver flag, or another setting, that the check is about. May be empty.
	Flag string `json:"flag,omitempty"`
	// Proves is a sentence for the documentation: what a pass proves.
	Proves string `json:"proves"`
	// Needs lists the IDs of checks that must pass before this check runs. The default is reach.dialled.
	Needs []string `json:"needs,omitempty"`
	// Since is the first version of kube-apiserver that has what the check is about, such as v1.36. If it is empty, all
	// supported versions have it. The check does not apply to older kube-apiservers.
	Since string `json:"since,omitempty"`

	// remedy is a flag or a command that the user can paste to solve the problems that the check finds. A check with
	// several remedies sets finding.remedy instead.
	remedy string
	run    runFunc
	// onRequest is true if the check runs only if it is selected by its ID or by the name of its group.
	onRequest bool
}

// group is the part of the ID before the dot.
func (c Check) group() string {
	group, _, _ := strings.Cut(c.ID, ".")
	return group
}

// runFunc checks a kube-apiserver. It returns an error if it cannot complete.
type runFunc func(ctx context.Context, r *run, f *finding) error

// Checks returns all checks in the order of the report.
func Checks() []Check {
	all := slices.Concat(reachChecks(), clientChecks(), rightsChecks(), servingChecks(), tlsChecks(), streamChecks(),
		hostileChecks(), afterChecks(), approverChecks())
	for i := range all[1:] {
		if c := &all[i+1]; c.Needs == nil {
			c.Needs = []string{all[0].ID}
		}
	}
	return all
}

// Completions returns the IDs of all checks for the completion of a shell, each followed by a tab and the title.
func Completions() []string {
	var all []string
	for _, c := range Checks() {
		all = append(all, c.ID+"\t"+c.Title)
	}
	return all
}

// Selects returns whether one of the checks belongs to the group, the part of an ID before the dot.
func Selects(checks []Check, group string) bool {
	return slices.ContainsFunc(checks, func(c Check) bool { return c.group() == group })
}

// List writes the checks. The format "table" is for a terminal with 80 columns: the ID of each check in a line of its
// own, and below it the title and the setting that the check is about. The format "json" is a JSON array.
func List(w io.Writer, checks []Check, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(checks)
	}
	for _, c := range checks {
		text := c.Title
		if c.Flag != "" {
			text += " (" + c.Flag + ")"
		}
		if _, err := fmt.Fprintf(w, "%s\n  %s\n", c.ID, strings.Join(color.Wrap(text, 78), "\n  ")); err != nil {
			return err
		}
	}
	return nil
}
