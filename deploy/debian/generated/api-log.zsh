#compdef api-log

autoload -U is-at-least

_api-log() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_api-log_commands" \
"*::: :->api-log" \
&& ret=0
    case $state in
    (api-log)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:api-log-command-$line[1]:"
        case $line[1] in
            (serve)
_arguments "${_arguments_options[@]}" : \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(demo)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[Where to record; without it\: a new temporary folder]:DIR:_files' \
'--seconds=[For how long to send traffic]:N:_default' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'--keep[Keep proxy and API running afterwards]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(validate)
_arguments "${_arguments_options[@]}" : \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'--offline[Leave out what needs the network\: ports and gateway]' \
'--strict[Fail for a warning too]' \
'--json[One JSON object on standard output]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(config)
_arguments "${_arguments_options[@]}" : \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
":: :_api-log__subcmd__config_commands" \
"*::: :->config" \
&& ret=0

    case $state in
    (config)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:api-log-config-command-$line[1]:"
        case $line[1] in
            (schema)
_arguments "${_arguments_options[@]}" : \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(defaults)
_arguments "${_arguments_options[@]}" : \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(explain)
_arguments "${_arguments_options[@]}" : \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'--json[One JSON object on standard output]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'::key -- A key, a section, or a variable, with what it is for; without it\: every key:_default' \
&& ret=0
;;
(validate)
_arguments "${_arguments_options[@]}" : \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'--json[One JSON object on standard output]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
        esac
    ;;
esac
;;
(rebuild)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[Of this data dir, instead of the configured one]:DIR:_files' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'--json[Say what came of it as JSON]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(tail)
_arguments "${_arguments_options[@]}" : \
'(--data-dir)--url=[The recorder'\''s API \[default\: http\://127.0.0.1\:7862\]]:URL:_default' \
'(--data-dir)--token=[Its token \[default\: APILOG_TOKEN, else that of the configured data dir\]]:TOKEN:_default' \
'(--data-dir --token)--token-file=[A file with its token]:FILE:_files' \
'--data-dir=[Read the files of this data dir; needs no recorder]:DIR:_files' \
'--color=[Colours\: auto, always or never]:WHEN:(auto always never)' \
'-n+[Begin with the last N \[default\: 10; all of --since\]]:N:_default' \
'--lines=[Begin with the last N \[default\: 10; all of --since\]]:N:_default' \
'--since=[Begun at or after\: 10m ago, or RFC 3339]:TIME:_default' \
'--until=[Begun before\: 10m ago, or RFC 3339]:TIME:_default' \
'--status=[With this status\: 404, 2xx, 4xx or 5xx]:STATUS:_default' \
'--model=[Of this model]:MODEL:_default' \
'--path=[Of this path; a final * is a prefix]:PATH:_default' \
'--key-hash=[Of this key\: 8 or all 16 digits of its hash]:HEX:_default' \
'--session-root-id=[Of the session with this first trace]:ID:_default' \
'--project=[Of this project]:NAME:_default' \
'--tag=[With this label]:LABEL:_default' \
'--client-kind=[Of this kind of client]:KIND:_default' \
'--stream=[A stream was asked for\: true or false]:BOOL:_default' \
'--end=[Ended so\: complete, client_gone, upstream_gone and so on]:END:_default' \
'--has-media=[Has attachments\: true or false]:BOOL:_default' \
'--min-ms=[Took at least so many milliseconds]:N:_default' \
'--min-tokens=[At least so many tokens in all]:N:_default' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'(--data-dir --json -n --lines --no-follow)--inflight[Full screen\: what is under way, traces, health]' \
'--no-follow[End after those that are there]' \
'--json[One JSON object a line\: the API'\''s row]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(show)
_arguments "${_arguments_options[@]}" : \
'(--data-dir)--url=[The recorder'\''s API \[default\: http\://127.0.0.1\:7862\]]:URL:_default' \
'(--data-dir)--token=[Its token \[default\: APILOG_TOKEN, else that of the configured data dir\]]:TOKEN:_default' \
'(--data-dir --token)--token-file=[A file with its token]:FILE:_files' \
'--data-dir=[Read the files of this data dir; needs no recorder]:DIR:_files' \
'--color=[Colours\: auto, always or never]:WHEN:(auto always never)' \
'--diff=[What changed since another trace, and where a prompt cache stops\: its id, or \`parent\`]:ID:_default' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'--raw[The line as it stands in the file]' \
'--events[The events of its stream, with their times]' \
'--curl[A curl command that repeats the request]' \
'--with-credentials[With its credentials, not variables in their place]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':id -- Its id, or the beginning of it that no other has:_default' \
&& ret=0
;;
(replay)
_arguments "${_arguments_options[@]}" : \
'(--data-dir)--url=[The recorder'\''s API \[default\: http\://127.0.0.1\:7862\]]:URL:_default' \
'(--data-dir)--token=[Its token \[default\: APILOG_TOKEN, else that of the configured data dir\]]:TOKEN:_default' \
'(--data-dir --token)--token-file=[A file with its token]:FILE:_files' \
'--data-dir=[Read the files of this data dir; needs no recorder]:DIR:_files' \
'--color=[Colours\: auto, always or never]:WHEN:(auto always never)' \
'--speed=[So many times as fast, up to 100]:N:_default' \
'--from=[The first event, counted from 0]:N:_default' \
'--to=[The event before which it ends]:N:_default' \
'--dir=[Whose messages of a socket\: server, client or both]:SIDE:(server client both)' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'--nodelay[Without pauses]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':id -- Its id, or the beginning of it that no other has:_default' \
&& ret=0
;;
(mock)
_arguments "${_arguments_options[@]}" : \
'--listen=[Where to listen; port 0 takes a free one]:ADDR:_default' \
'--from=[Answer from the recordings of this data dir; never asks an upstream]:DIR:_files' \
'--speed=[So many times as fast as it was recorded, up to 100]:N:_default' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'--nodelay[Without pauses]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(package)
_arguments "${_arguments_options[@]}" : \
'--out=[Where to; \`-\` is standard output \[default\: a new file here\]]:FILE:_files' \
'--from=[Begun at or after\: RFC 3339 or YYYY-MM-DD (UTC)]:TIME:_default' \
'--to=[Begun before]:TIME:_default' \
'--path=[Of this path, with any query unless one is given]:PATH:_default' \
'(--path)--path-prefix=[Of paths that begin so]:TEXT:_default' \
'--model=[Of this model]:MODEL:_default' \
'--key-prefix=[Of keys whose hash begins so]:HEX:_default' \
'--status=[With this status\: 404, 2xx, 4xx or 5xx]:STATUS:_default' \
'--session=[Of the session with this first trace]:ID:_default' \
'--project=[Of this project]:NAME:_default' \
'--tag=[With this label]:LABEL:_default' \
'--limit=[At most so many, the newest; 0 for all]:N:_default' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'--repair[Mend what can be mended without losing a byte; needs the recorder stopped]' \
'--json[One JSON object on standard output]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(token)
_arguments "${_arguments_options[@]}" : \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
":: :_api-log__subcmd__token_commands" \
"*::: :->token" \
&& ret=0

    case $state in
    (token)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:api-log-token-command-$line[1]:"
        case $line[1] in
            (new)
_arguments "${_arguments_options[@]}" : \
'--name=[What it is called, in lists and in the access log]:NAME:_default' \
'--scope=[viewer\: reads; admin\: changes settings and plugins too]:SCOPE:_default' \
'--expires=[Until when\: RFC 3339, or a time from now such as 90d]:TIME:_default' \
'--file=[The token file, instead of the configured one]:FILE:_files' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
'--file=[The token file, instead of the configured one]:FILE:_files' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(revoke)
_arguments "${_arguments_options[@]}" : \
'--file=[The token file, instead of the configured one]:FILE:_files' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- What it is called:_default' \
&& ret=0
;;
        esac
    ;;
esac
;;
(healthcheck)
_arguments "${_arguments_options[@]}" : \
'--url=[This URL, http only \[default\: /readyz of the configured api.listen\]]:URL:_default' \
'--timeout=[How long the answer may take]:TIME:_default' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(completions)
_arguments "${_arguments_options[@]}" : \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':shell -- The shell:(bash elvish fish powershell zsh)' \
&& ret=0
;;
(man)
_arguments "${_arguments_options[@]}" : \
'()--out=[Write every page to this folder, as api-log.1, api-log-verify.1 and so on]:DIR:_files' \
'--config=[YAML configuration; without it\: defaults and environment]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::command -- The page of this command, to standard output:_default' \
&& ret=0
;;
        esac
    ;;
esac
}

(( $+functions[_api-log_commands] )) ||
_api-log_commands() {
    local commands; commands=(
'serve:Run the proxy and the API; the same as no command' \
'demo:Record made-up traffic and show what was recorded' \
'validate:Check the configuration and what it needs here' \
'config:Explain the configuration\: schema, defaults, what is in force' \
'rebuild:Make the index anew from the files' \
'tail:Show traffic as it is recorded, a line for each trace' \
'show:Show a trace as a conversation' \
'replay:Send a recorded stream again, to standard output' \
'mock:Run a mock gateway that speaks every protocol' \
'package:Pack recorded traces into a zip archive' \
'verify:Check the data dir against itself' \
'token:Make, list and revoke tokens of the read API' \
'healthcheck:Ask whether a running recorder is ready' \
'completions:Write what a shell needs to complete commands' \
'man:Write the manual pages' \
    )
    _describe -t commands 'api-log commands' commands "$@"
}
(( $+functions[_api-log__subcmd__completions_commands] )) ||
_api-log__subcmd__completions_commands() {
    local commands; commands=()
    _describe -t commands 'api-log completions commands' commands "$@"
}
(( $+functions[_api-log__subcmd__config_commands] )) ||
_api-log__subcmd__config_commands() {
    local commands; commands=(
'schema:Print the JSON Schema of the file, for editors' \
'defaults:Print every key with its default, as YAML' \
'explain:Tell what is in force, and where each value comes from' \
'validate:Check file and environment, and nothing around them' \
    )
    _describe -t commands 'api-log config commands' commands "$@"
}
(( $+functions[_api-log__subcmd__config__subcmd__defaults_commands] )) ||
_api-log__subcmd__config__subcmd__defaults_commands() {
    local commands; commands=()
    _describe -t commands 'api-log config defaults commands' commands "$@"
}
(( $+functions[_api-log__subcmd__config__subcmd__explain_commands] )) ||
_api-log__subcmd__config__subcmd__explain_commands() {
    local commands; commands=()
    _describe -t commands 'api-log config explain commands' commands "$@"
}
(( $+functions[_api-log__subcmd__config__subcmd__schema_commands] )) ||
_api-log__subcmd__config__subcmd__schema_commands() {
    local commands; commands=()
    _describe -t commands 'api-log config schema commands' commands "$@"
}
(( $+functions[_api-log__subcmd__config__subcmd__validate_commands] )) ||
_api-log__subcmd__config__subcmd__validate_commands() {
    local commands; commands=()
    _describe -t commands 'api-log config validate commands' commands "$@"
}
(( $+functions[_api-log__subcmd__demo_commands] )) ||
_api-log__subcmd__demo_commands() {
    local commands; commands=()
    _describe -t commands 'api-log demo commands' commands "$@"
}
(( $+functions[_api-log__subcmd__healthcheck_commands] )) ||
_api-log__subcmd__healthcheck_commands() {
    local commands; commands=()
    _describe -t commands 'api-log healthcheck commands' commands "$@"
}
(( $+functions[_api-log__subcmd__man_commands] )) ||
_api-log__subcmd__man_commands() {
    local commands; commands=()
    _describe -t commands 'api-log man commands' commands "$@"
}
(( $+functions[_api-log__subcmd__mock_commands] )) ||
_api-log__subcmd__mock_commands() {
    local commands; commands=()
    _describe -t commands 'api-log mock commands' commands "$@"
}
(( $+functions[_api-log__subcmd__package_commands] )) ||
_api-log__subcmd__package_commands() {
    local commands; commands=()
    _describe -t commands 'api-log package commands' commands "$@"
}
(( $+functions[_api-log__subcmd__rebuild_commands] )) ||
_api-log__subcmd__rebuild_commands() {
    local commands; commands=()
    _describe -t commands 'api-log rebuild commands' commands "$@"
}
(( $+functions[_api-log__subcmd__replay_commands] )) ||
_api-log__subcmd__replay_commands() {
    local commands; commands=()
    _describe -t commands 'api-log replay commands' commands "$@"
}
(( $+functions[_api-log__subcmd__serve_commands] )) ||
_api-log__subcmd__serve_commands() {
    local commands; commands=()
    _describe -t commands 'api-log serve commands' commands "$@"
}
(( $+functions[_api-log__subcmd__show_commands] )) ||
_api-log__subcmd__show_commands() {
    local commands; commands=()
    _describe -t commands 'api-log show commands' commands "$@"
}
(( $+functions[_api-log__subcmd__tail_commands] )) ||
_api-log__subcmd__tail_commands() {
    local commands; commands=()
    _describe -t commands 'api-log tail commands' commands "$@"
}
(( $+functions[_api-log__subcmd__token_commands] )) ||
_api-log__subcmd__token_commands() {
    local commands; commands=(
'new:Make a token, and print it this once' \
'list:List the tokens\: name, scope, until when' \
'revoke:Refuse a token from now on' \
    )
    _describe -t commands 'api-log token commands' commands "$@"
}
(( $+functions[_api-log__subcmd__token__subcmd__list_commands] )) ||
_api-log__subcmd__token__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'api-log token list commands' commands "$@"
}
(( $+functions[_api-log__subcmd__token__subcmd__new_commands] )) ||
_api-log__subcmd__token__subcmd__new_commands() {
    local commands; commands=()
    _describe -t commands 'api-log token new commands' commands "$@"
}
(( $+functions[_api-log__subcmd__token__subcmd__revoke_commands] )) ||
_api-log__subcmd__token__subcmd__revoke_commands() {
    local commands; commands=()
    _describe -t commands 'api-log token revoke commands' commands "$@"
}
(( $+functions[_api-log__subcmd__validate_commands] )) ||
_api-log__subcmd__validate_commands() {
    local commands; commands=()
    _describe -t commands 'api-log validate commands' commands "$@"
}
(( $+functions[_api-log__subcmd__verify_commands] )) ||
_api-log__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'api-log verify commands' commands "$@"
}

if [ "$funcstack[1]" = "_api-log" ]; then
    _api-log "$@"
else
    compdef _api-log api-log
fi
