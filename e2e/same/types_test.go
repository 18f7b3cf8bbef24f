package same

import "fauxlet/internal/recordings"

type (
	client       = recordings.Client
	conversation = recordings.Conversation
	request      = recordings.Request
	observation  = recordings.Observation
	difference   = recordings.Difference
)

const hangUp = recordings.HangUp
