package shell

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func sleep(ctx context.Context, p *process) int {
	if len(p.args) < 2 {
		return p.fail("missing operand")
	}
	var sum time.Duration
	for _, arg := range p.args[1:] {
		d, err := duration(arg)
		if err != nil {
			return p.fail("invalid number '%s'", arg)
		}
		sum = min(sum+d, maxSleep)
	}
	if !wait(ctx, sum) {
		return 1
	}
	return 0
}

const maxSleep = 100 * 365 * 24 * time.Hour

// duration parses seconds, or a number with the unit s, m, h or d.
func duration(text string) (time.Duration, error) {
	if text == "inf" || text == "infinity" {
		return maxSleep, nil
	}
	unit := time.Second
	if text != "" {
		if u, found := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour,
			'd': 24 * time.Hour}[text[len(text)-1]]; found {
			unit, text = u, text[:len(text)-1]
		}
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || !(value >= 0) {
		return 0, errInvalid
	}
	return time.Duration(min(value*float64(unit), float64(maxSleep))), nil
}

func uptime(_ context.Context, p *process) int {
	up := p.container.uptime().Truncate(time.Minute)
	days, hours, minutes := int(up.Hours())/24, int(up.Hours())%24, int(up.Minutes())%60
	text := fmt.Sprintf("%d min", minutes)
	if hours > 0 {
		text = fmt.Sprintf("%2d:%02d", hours, minutes)
	}
	if days == 1 {
		text = "1 day, " + text
	} else if days > 1 {
		text = fmt.Sprintf("%d days, %s", days, text)
	}
	return p.print(fmt.Sprintf(" %s up %s,  load average: 0.08, 0.03, 0.01\n",
		p.container.config.Now().UTC().Format("15:04:05"), text))
}

func date(_ context.Context, p *process) int {
	o, args, ok := p.parse("uRId:r:", map[string]rune{"utc": 'u', "universal": 'u', "iso-8601": 'I'})
	if !ok {
		return 1
	}
	now := p.container.config.Now().UTC()
	if text, found := o.value['d']; found {
		seconds, err := strconv.ParseInt(strings.TrimPrefix(text, "@"), 10, 64)
		now = time.Unix(seconds, 0).UTC()
		if err != nil {
			for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
				if now, err = time.Parse(layout, text); err == nil {
					break
				}
			}
		}
		if err != nil {
			return p.fail("invalid date '%s'", text)
		}
	}
	if name, found := o.value['r']; found {
		info, err := p.container.files.stat(p.user(), p.path(name))
		if err != nil {
			return p.fail("%s: %v", name, err)
		}
		now = info.modTime.UTC()
	}
	format := "%a %b %e %H:%M:%S UTC %Y"
	switch {
	case len(args) > 0 && strings.HasPrefix(args[0], "+"):
		format = args[0][1:]
	case len(args) > 0:
		return p.fail("can't set date: %v", errNotPermitted)
	case o.has('R'):
		format = "%a, %d %b %Y %H:%M:%S %z"
	case o.has('I'):
		format = "%Y-%m-%d"
		if o.value['I'] == "seconds" {
			format = "%Y-%m-%dT%H:%M:%S+00:00"
		}
	}
	return p.print(formatTime(now, format) + "\n")
}

// formatTime implements strftime in UTC.
func formatTime(t time.Time, format string) string {
	layouts := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'y': "06",
		'a': "Mon", 'A': "Monday",
		'b': "Jan", 'h': "Jan", 'B': "January", 'j': "002", 'Z': "UTC", 'z': "-0700", 'F': "2006-01-02",
		'T': "15:04:05", 'R': "15:04", 'D': "01/02/06",
		'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'N': "000000000",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch c := format[i]; c {
		case 's':
			b.WriteString(strconv.FormatInt(t.Unix(), 10))
		case 'N':
			fmt.Fprintf(&b, "%09d", t.Nanosecond())
		case 'u':
			b.WriteString(strconv.Itoa((int(t.Weekday())+6)%7 + 1))
		case 'w':
			b.WriteString(strconv.Itoa(int(t.Weekday())))
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '%':
			b.WriteByte('%')
		default:
			if layout, found := layouts[c]; found {
				b.WriteString(t.Format(layout))
			} else {
				b.WriteString(format[i-1 : i+1])
			}
		}
	}
	return b.String()
}
