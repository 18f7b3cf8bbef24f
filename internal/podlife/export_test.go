package podlife

// Restarts is for tests outside the package.
var Restarts = restarts
