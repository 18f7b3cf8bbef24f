package shell

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// The function "test" implements the commands `test` and `[`.
func test(p *process) int {
	args := p.args[1:]
	if path.Base(p.args[0]) == "[" {
		if len(args) == 0 || args[len(args)-1] != "]" {
			p.fail("missing ]")
			return 2
		}
		args = args[:len(args)-1]
	}
	yes, err := p.evaluate(args)
	if err != nil {
		p.fail("%s: %v", strings.Join(args, " "), err)
		return 2
	}
	return oneIf(!yes)
}

// evaluate evaluates the arguments of test. As in POSIX, the number of arguments decides what they mean. -a and -o join
// two expressions.
func (p *process) evaluate(args []string) (yes bool, err error) {
	for _, join := range []string{"-o", "-a"} {
		if at := slices.Index(args, join); len(args) > 3 && at > 0 && at < len(args)-1 {
			left, err := p.evaluate(args[:at])
			if err != nil || left == (join == "-o") {
				return left, err
			}
			return p.evaluate(args[at+1:])
		}
	}
	switch {
	case len(args) == 0:
		return false, nil
	case len(args) == 1:
		return args[0] != "", nil
	case len(args) == 3:
		if yes, err = p.compare(args[1], args[0], args[2]); err != errNoOperator {
			return yes, err
		}
	case len(args) == 2 && args[0] != "!":
		return p.check(args[0], args[1])
	}
	if args[0] == "!" {
		yes, err = p.evaluate(args[1:])
		return !yes, err
	}
	return false, errNoOperator
}

// errNoOperator means that an argument is no operator of test.
var errNoOperator = errors.New("unknown operator")

// check evaluates an operator with one operand, as in -f file.
func (p *process) check(operator, operand string) (bool, error) {
	info, err := p.stat(operand)
	found := err == nil
	switch operator {
	case "-n":
		return operand != "", nil
	case "-z":
		return operand == "", nil
	case "-t":
		return p.session.terminal != nil && strings.Contains("012", operand), nil
	case "-e", "-r", "-w", "-O", "-G":
		return found, nil
	case "-f":
		return found && info.mode.IsRegular(), nil
	case "-d":
		return found && info.IsDir(), nil
	case "-c":
		return found && info.mode&fs.ModeDevice != 0, nil
	case "-s":
		return found && info.size > 0, nil
	case "-x":
		return found && info.mode&0o111 != 0, nil
	case "-h", "-L":
		info, err := p.lstat(operand)
		return err == nil && info.target != "", nil
	}
	return false, errNoOperator
}

// compare evaluates an operator with two operands, as in 1 -lt 2.
func (p *process) compare(operator, a, b string) (bool, error) {
	switch operator {
	case "=", "==":
		return a == b, nil
	case "!=":
		return a != b, nil
	case "<":
		return a < b, nil
	case ">":
		return a > b, nil
	case "-ot":
		return p.compare("-nt", b, a)
	case "-nt":
		x, errX := p.stat(a)
		y, errY := p.stat(b)
		return errX == nil && (errY != nil || x.modTime.After(y.modTime)), nil
	}
	x, errX := strconv.Atoi(strings.TrimSpace(a))
	y, errY := strconv.Atoi(strings.TrimSpace(b))
	results := map[string]bool{"-eq": x == y, "-ne": x != y, "-lt": x < y, "-le": x <= y, "-gt": x > y, "-ge": x >= y}
	result, found := results[operator]
	switch {
	case !found:
		return false, errNoOperator
	case errX != nil || errY != nil:
		return false, fmt.Errorf("'%s' %s '%s': bad number", a, operator, b)
	}
	return result, nil
}

// condTest evaluates the expression of [[ ]].
func (sh *interpreter) condTest(x syntax.TestExpr) (bool, error) {
	text := func(x syntax.TestExpr) (string, error) {
		word, _ := x.(*syntax.Word)
		return sh.literal(word)
	}
	switch x := x.(type) {
	case *syntax.ParenTest:
		return sh.condTest(x.X)
	case *syntax.UnaryTest:
		if x.Op == syntax.TsNot {
			yes, err := sh.condTest(x.X)
			return !yes, err
		}
		operand, err := text(x.X)
		if err != nil {
			return false, err
		}
		return sh.check(x.Op.String(), operand)
	case *syntax.BinaryTest:
		if x.Op == syntax.AndTest || x.Op == syntax.OrTest {
			yes, err := sh.condTest(x.X)
			if err != nil || yes == (x.Op == syntax.OrTest) {
				return yes, err
			}
			return sh.condTest(x.Y)
		}
		return sh.condCompare(x, text)
	default:
		word, err := text(x)
		return word != "", err
	}
}

// condCompare evaluates an operator of [[ ]] with two operands. The second may be a pattern or a regular expression.
func (sh *interpreter) condCompare(x *syntax.BinaryTest, text func(syntax.TestExpr) (string, error)) (bool, error) {
	left, err := text(x.X)
	if err != nil {
		return false, err
	}
	word, _ := x.Y.(*syntax.Word)
	switch x.Op {
	case syntax.TsMatch, syntax.TsMatchShort, syntax.TsNoMatch:
		yes, err := sh.matches(word, left)
		return yes == (x.Op != syntax.TsNoMatch) && err == nil, err
	case syntax.TsReMatch:
		pattern, err := expanded(sh, func(c *expand.Config) (string, error) { return expand.Literal(c, word) })
		if err != nil {
			return false, err
		}
		re, err := compile(pattern, pattern)
		return err == nil && re.MatchString(left), err
	}
	right, err := text(x.Y)
	if err != nil {
		return false, err
	}
	return sh.compare(x.Op.String(), left, right)
}
