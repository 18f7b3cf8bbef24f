package pods

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/scenario"
)

// endedLines is the default number of lines in the log of a container that has ended.
const endedLines = 100

// ended returns the log of a container that does not run: it has an end.
func ended(l scenario.Log) scenario.Log {
	if l.Text == "" && l.File == "" && l.Lines == 0 {
		l.Lines = endedLines
	}
	return l
}

// since returns the log of a container that started at a time.
func since(l scenario.Log, began time.Time) scenario.Log {
	if l.Start == nil {
		l.Start = &metav1.Time{Time: began}
	}
	return l
}
