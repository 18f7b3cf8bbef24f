package podlife

// Restarts lets the tests of package podlife_test call the function "restarts".
var Restarts = restarts
