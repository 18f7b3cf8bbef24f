package helptext

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// pluginPrefix begins the file name of a kubectl plugin. kubectl runs kubectl-NAME for "kubectl NAME".
const pluginPrefix = "kubectl-"

// ForProgram returns the given root command. If the program was started as a kubectl plugin, all help texts of the
// command and its subcommands contain "kubectl NAME COMMAND" in place of "NAME COMMAND". Its argument program is the
// name under which the program was started (os.Args[0]).
func ForProgram(root *cobra.Command, program string) *cobra.Command {
	base := strings.TrimSuffix(filepath.Base(program), ".exe")
	if base != pluginPrefix+root.Name() {
		return root
	}
	var names []string
	for _, c := range root.Commands() {
		names = append(names, regexp.QuoteMeta(c.Name()))
	}
	commands := regexp.MustCompile(`(^|[\s("])(` + regexp.QuoteMeta(root.Name()) + ` (?:` + strings.Join(names, "|") +
		`)\b)`)
	rename(root, func(text string) string { return commands.ReplaceAllString(text, "${1}kubectl $2") })
	if root.Annotations == nil {
		root.Annotations = map[string]string{}
	}
	root.Annotations[cobra.CommandDisplayNameAnnotation] = "kubectl " + root.Name()
	return root
}

// rename changes all texts of a command and its subcommands.
func rename(c *cobra.Command, change func(string) string) {
	c.Short, c.Long, c.Example = change(c.Short), change(c.Long), change(c.Example)
	if codes, ok := c.Annotations[ExitCodesKey]; ok {
		c.Annotations[ExitCodesKey] = change(codes)
	}
	flags := func(flag *pflag.Flag) { flag.Usage = change(flag.Usage) }
	c.LocalNonPersistentFlags().VisitAll(flags)
	c.PersistentFlags().VisitAll(flags)
	for _, sub := range c.Commands() {
		rename(sub, change)
	}
}
