{{/* The name of all objects. Names of nodes begin with it, so it is short enough for a number of each pod and node. */}}
{{- define "fauxlet.fullname" -}}
{{- $name := .Values.fullnameOverride }}
{{- if not $name }}
{{- $name = contains "fauxlet" .Release.Name | ternary .Release.Name (printf "%s-fauxlet" .Release.Name) }}
{{- end }}
{{- $name | replace "." "-" | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "fauxlet.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "fauxlet.fullname" .) }}
{{- end }}

{{- define "fauxlet.selector" -}}
app.kubernetes.io/name: fauxlet
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "fauxlet.labels" -}}
{{ include "fauxlet.selector" . }}
app.kubernetes.io/component: node
app.kubernetes.io/part-of: fauxlet
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The names of the Nodes as a JSON list, if permissions can be limited to them. The nodes of a fleet share one watch of all
Nodes, which RBAC cannot limit. The list is never empty, because an empty one would allow all names. */}}
{{- define "fauxlet.nodeNames" -}}
{{- if eq (int .Values.nodesPerReplica) 1 }}
{{- $names := list }}
{{- range until (max 1 (int .Values.replicas) | int) }}
{{- $names = append $names (printf "%s-%d" (include "fauxlet.fullname" $) .) }}
{{- end }}
{{- toJson $names }}
{{- end }}
{{- end }}

{{/* Stops with an error if settings contradict each other. */}}
{{- define "fauxlet.validate" -}}
{{- if eq .Values.certificates.source "bootstrap" }}
{{- if .Values.node.deregister }}
{{- fail "node.deregister=true does not work with certificates.source=bootstrap, because a node's own credential may not delete Nodes: set node.deregister=false, or another source" }}
{{- end }}
{{- if .Values.podVolumes }}
{{- fail "podVolumes=true is not needed with certificates.source=bootstrap, because a node's own credential may read what its pods refer to: set podVolumes=false" }}
{{- end }}
{{- end }}
{{- if not (regexMatch "^[a-z]" (include "fauxlet.fullname" .)) }}
{{- fail (printf "the name %q of the objects begins with a digit, which the name of a Service may not: set fullnameOverride" (include "fauxlet.fullname" .)) }}
{{- end }}
{{- if hasKey .Values.scenario "nodes" }}
{{- fail "scenario.nodes would change the number of nodes without their ports and permissions: remove it, and set nodesPerReplica" }}
{{- end }}
{{- range list "apiVersion" "kind" "port" "address" "healthzPort" "healthzBindAddress" "tlsCertFile" "tlsPrivateKeyFile" "rotateCertificates" "serverTLSBootstrap" }}
{{- if hasKey $.Values.kubeletConfiguration . }}
{{- fail (printf "kubeletConfiguration.%s: the chart sets this field or the flag for it: remove it" .) }}
{{- end }}
{{- end }}
{{- if hasKey .Values.kubeletConfiguration "registerWithTaints" }}
{{- fail "kubeletConfiguration.registerWithTaints: remove it, and set node.taints" }}
{{- end }}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) }}
{{- fail "serviceAccount.create=false needs a ServiceAccount that exists: set serviceAccount.name" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.create (not .Values.metrics.enabled) }}
{{- fail "metrics.serviceMonitor.create=true needs the port for metrics: set metrics.enabled=true" }}
{{- end }}
{{- end }}

{{/* The KubeletConfiguration, as YAML. */}}
{{- define "fauxlet.kubeletConfiguration" -}}
{{- $config := dict
  "apiVersion" "kubelet.config.k8s.io/v1beta1"
  "kind" "KubeletConfiguration"
  "authentication" (dict
    "anonymous" (dict "enabled" false)
    "webhook" (dict "enabled" true)
    "x509" (dict "clientCAFile" "/etc/fauxlet-client-ca/ca.crt"))
  "authorization" (dict "mode" "Webhook")
  "readOnlyPort" 0
  "registerWithTaints" .Values.node.taints }}
{{- toYaml (mergeOverwrite $config (deepCopy .Values.kubeletConfiguration)) }}
{{- end }}

{{/* The Scenario, as YAML. */}}
{{- define "fauxlet.scenario" -}}
{{- toYaml (merge (dict "apiVersion" "fauxlet/v1alpha1" "kind" "Scenario") .Values.scenario) }}
{{- end }}

{{/* The arguments of the container, as a JSON list. The environment has POD_NAME and POD_IP. */}}
{{- define "fauxlet.args" -}}
{{- $bootstrap := eq .Values.certificates.source "bootstrap" }}
{{- $labels := merge (dict "fauxlet" "true" "fauxlet/release" .Release.Name) .Values.node.labels }}
{{- $pairs := list }}
{{- range $key, $value := $labels }}
{{- $pairs = append $pairs (printf "%s=%s" $key $value) }}
{{- end }}
{{- $args := list "serve"
  "--config=/etc/fauxlet/kubelet.yaml"
  (printf "--kubeconfig=%s" ($bootstrap | ternary "/var/lib/fauxlet/kubeconfig" "/etc/fauxlet/kubeconfig"))
  "--scenario=/etc/fauxlet/scenario.yaml"
  "--cert-dir=/var/lib/fauxlet/pki"
  "--address=$(POD_IP)"
  "--node-ip=$(POD_IP)"
  "--healthz-bind-address=$(POD_IP)"
  (printf "--node-labels=%s" (join "," $pairs))
  "--admin-token-file=" }}
{{- if eq (int .Values.nodesPerReplica) 1 }}
{{- $args = append $args "--hostname-override=$(POD_NAME)" }}
{{- else }}
{{- $args = concat $args (list (printf "--nodes=%d" (int .Values.nodesPerReplica)) "--node-name-prefix=$(POD_NAME)-") }}
{{- end }}
{{- if $bootstrap }}
{{- $args = concat $args (list "--bootstrap-kubeconfig=/etc/fauxlet-bootstrap/kubeconfig" "--rotate-certificates" "--rotate-server-certificates") }}
{{- else if eq .Values.certificates.source "secret" }}
{{- $args = concat $args (list "--tls-cert-file=/etc/fauxlet-serving/tls.crt" "--tls-private-key-file=/etc/fauxlet-serving/tls.key") }}
{{- end }}
{{- if .Values.node.deregister }}
{{- $args = append $args "--deregister-node" }}
{{- end }}
{{- if .Values.node.capacity }}
{{- $pairs = list }}
{{- range $key, $value := .Values.node.capacity }}
{{- $pairs = append $pairs (printf "%s=%v" $key $value) }}
{{- end }}
{{- $args = append $args (printf "--capacity=%s" (join "," $pairs)) }}
{{- end }}
{{- with .Values.node.emulateVersion }}
{{- $args = append $args (printf "--emulate-version=%s" .) }}
{{- end }}
{{- if .Values.metrics.enabled }}
{{- $args = append $args (printf "--metrics-address=$(POD_IP):%d" (int .Values.metrics.port)) }}
{{- end }}
{{- toJson (concat $args .Values.extraArgs) }}
{{- end }}
