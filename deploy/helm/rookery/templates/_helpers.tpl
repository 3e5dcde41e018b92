{{- define "rookery.name" -}}
{{- if contains "rookery" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-rookery" (.Release.Name | trunc 32 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "rookery.selector" -}}
app.kubernetes.io/name: rookery
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rookery.labels" -}}
{{ include "rookery.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "rookery.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "rookery.secret" -}}
{{ .Values.secret.existingSecret | default (include "rookery.name" .) }}
{{- end }}

{{- /* Address of a pod's port between nodes; resolved by the search path of the namespace at every connect. */ -}}
{{- define "rookery.peer" -}}
{{ $name := include "rookery.name" .root }}{{ $name }}-{{ .ordinal }}.{{ $name }}-nodes:9080
{{- end }}

{{- define "rookery.seeds" -}}
{{ $seeds := list }}
{{- range $ordinal := until (int (min .Values.replicas 3)) }}
{{- $seeds = append $seeds (include "rookery.peer" (dict "root" $ "ordinal" $ordinal)) }}
{{- end }}
{{- toJson $seeds }}
{{- end }}

{{- define "rookery.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "rookery.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- /* Fails on values that the schema cannot refuse. */ -}}
{{- define "rookery.check" -}}
{{- if and (eq (int .Values.replicas) 1) .Values.podDisruptionBudget.enabled }}
{{- fail "podDisruptionBudget.enabled must be false with replicas: 1: a budget cannot keep the only node, and one that could would block every drain of its machine" }}
{{- end }}
{{- if and (not .Values.secret.existingSecret) (lt (len .Values.secret.clusterSecret) 16) }}
{{- fail "set secret.existingSecret, or secret.clusterSecret to at least 16 random characters" }}
{{- end }}
{{- if and (not .Values.secret.existingSecret) (lt (len .Values.secret.adminToken) 16) }}
{{- fail "set secret.existingSecret, or secret.adminToken to at least 16 random characters" }}
{{- end }}
{{- range $key := list "cluster.secret" "server.admin_token" "auth.secret" "login.webhook_secret" "webhook.secret" }}
{{- $parts := splitList "." $key }}
{{- if hasKey (default dict (get $.Values.settings (first $parts))) (last $parts) }}
{{- fail (printf "settings.%s is a secret: it belongs in node.toml of the Secret (secret.existingSecret or secret.extraToml)" $key) }}
{{- end }}
{{- end }}
{{- range $key := list "server.listen" "server.admin" "server.tls_cert_file" "server.tls_key_file" "cluster.listen" "cluster.advertise" "cluster.seeds" "storage.dir" }}
{{- $parts := splitList "." $key }}
{{- if hasKey (default dict (get $.Values.settings (first $parts))) (last $parts) }}
{{- fail (printf "settings.%s is set by the chart" $key) }}
{{- end }}
{{- end }}
{{- end }}
