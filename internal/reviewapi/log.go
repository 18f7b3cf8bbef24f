package reviewapi

import "go.uber.org/zap"

// LogReloads returns a function for Options.OnReload that logs each change.
func LogReloads(logger *zap.Logger) func(error, string) {
	return func(err error, summary string) {
		if err != nil {
			logger.Error("a file of the review API has changed and is not valid; its last content stays in use",
				zap.Error(err), zap.String("inUse", summary))
			return
		}
		logger.Info("a file of the review API changed and is in use", zap.String("inUse", summary))
	}
}
