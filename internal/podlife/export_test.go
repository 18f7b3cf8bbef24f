package podlife

// Restarts gives the tests of package podlife_test access to restarts.
var Restarts = restarts
