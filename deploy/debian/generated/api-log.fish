# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_api_log_global_optspecs
    string join \n config= h/help V/version
end

function __fish_api_log_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_api_log_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_api_log_using_subcommand
    set -l cmd (__fish_api_log_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c api-log -n "__fish_api_log_needs_command" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_needs_command" -s V -l version -d 'Print version'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "serve" -d 'Run the proxy and the API; the same as no command'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "demo" -d 'Record made-up traffic and show what was recorded'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "validate" -d 'Check the configuration and what it needs here'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "config" -d 'Explain the configuration: schema, defaults, what is in force'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "rebuild" -d 'Make the index anew from the files'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "tail" -d 'Show traffic as it is recorded, a line for each trace'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "show" -d 'Show a trace as a conversation'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "replay" -d 'Send a recorded stream again, to standard output'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "mock" -d 'Run a mock gateway that speaks every protocol'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "package" -d 'Pack recorded traces into a zip archive'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "verify" -d 'Check the data dir against itself'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "token" -d 'Make, list and revoke tokens of the read API'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "healthcheck" -d 'Ask whether a running recorder is ready'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "completions" -d 'Write what a shell needs to complete commands'
complete -c api-log -n "__fish_api_log_needs_command" -f -a "man" -d 'Write the manual pages'
complete -c api-log -n "__fish_api_log_using_subcommand serve" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand demo" -l data-dir -d 'Where to record; without it: a new temporary folder' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand demo" -l seconds -d 'For how long to send traffic' -r
complete -c api-log -n "__fish_api_log_using_subcommand demo" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand demo" -l keep -d 'Keep proxy and API running afterwards'
complete -c api-log -n "__fish_api_log_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand validate" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand validate" -l offline -d 'Leave out what needs the network: ports and gateway'
complete -c api-log -n "__fish_api_log_using_subcommand validate" -l strict -d 'Fail for a warning too'
complete -c api-log -n "__fish_api_log_using_subcommand validate" -l json -d 'One JSON object on standard output'
complete -c api-log -n "__fish_api_log_using_subcommand validate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand config; and not __fish_seen_subcommand_from schema defaults explain validate" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand config; and not __fish_seen_subcommand_from schema defaults explain validate" -s h -l help -d 'Print help'
complete -c api-log -n "__fish_api_log_using_subcommand config; and not __fish_seen_subcommand_from schema defaults explain validate" -f -a "schema" -d 'Print the JSON Schema of the file, for editors'
complete -c api-log -n "__fish_api_log_using_subcommand config; and not __fish_seen_subcommand_from schema defaults explain validate" -f -a "defaults" -d 'Print every key with its default, as YAML'
complete -c api-log -n "__fish_api_log_using_subcommand config; and not __fish_seen_subcommand_from schema defaults explain validate" -f -a "explain" -d 'Tell what is in force, and where each value comes from'
complete -c api-log -n "__fish_api_log_using_subcommand config; and not __fish_seen_subcommand_from schema defaults explain validate" -f -a "validate" -d 'Check file and environment, and nothing around them'
complete -c api-log -n "__fish_api_log_using_subcommand config; and __fish_seen_subcommand_from schema" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand config; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand config; and __fish_seen_subcommand_from defaults" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand config; and __fish_seen_subcommand_from defaults" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand config; and __fish_seen_subcommand_from explain" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand config; and __fish_seen_subcommand_from explain" -l json -d 'One JSON object on standard output'
complete -c api-log -n "__fish_api_log_using_subcommand config; and __fish_seen_subcommand_from explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand config; and __fish_seen_subcommand_from validate" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand config; and __fish_seen_subcommand_from validate" -l json -d 'One JSON object on standard output'
complete -c api-log -n "__fish_api_log_using_subcommand config; and __fish_seen_subcommand_from validate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand rebuild" -l data-dir -d 'Of this data dir, instead of the configured one' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand rebuild" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand rebuild" -l json -d 'Say what came of it as JSON'
complete -c api-log -n "__fish_api_log_using_subcommand rebuild" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l url -d 'The recorder\'s API [default: http://127.0.0.1:7862]' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l token -d 'Its token [default: APILOG_TOKEN, else that of the configured data dir]' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l token-file -d 'A file with its token' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l data-dir -d 'Read the files of this data dir; needs no recorder' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l color -d 'Colours: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c api-log -n "__fish_api_log_using_subcommand tail" -s n -l lines -d 'Begin with the last N [default: 10; all of --since]' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l since -d 'Begun at or after: 10m ago, or RFC 3339' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l until -d 'Begun before: 10m ago, or RFC 3339' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l status -d 'With this status: 404, 2xx, 4xx or 5xx' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l model -d 'Of this model' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l path -d 'Of this path; a final * is a prefix' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l key-hash -d 'Of this key: 8 or all 16 digits of its hash' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l session-root-id -d 'Of the session with this first trace' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l project -d 'Of this project' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l tag -d 'With this label' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l client-kind -d 'Of this kind of client' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l stream -d 'A stream was asked for: true or false' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l end -d 'Ended so: complete, client_gone, upstream_gone and so on' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l has-media -d 'Has attachments: true or false' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l min-ms -d 'Took at least so many milliseconds' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l min-tokens -d 'At least so many tokens in all' -r
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l inflight -d 'Full screen: what is under way, traces, health'
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l no-follow -d 'End after those that are there'
complete -c api-log -n "__fish_api_log_using_subcommand tail" -l json -d 'One JSON object a line: the API\'s row'
complete -c api-log -n "__fish_api_log_using_subcommand tail" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand show" -l url -d 'The recorder\'s API [default: http://127.0.0.1:7862]' -r
complete -c api-log -n "__fish_api_log_using_subcommand show" -l token -d 'Its token [default: APILOG_TOKEN, else that of the configured data dir]' -r
complete -c api-log -n "__fish_api_log_using_subcommand show" -l token-file -d 'A file with its token' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand show" -l data-dir -d 'Read the files of this data dir; needs no recorder' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand show" -l color -d 'Colours: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c api-log -n "__fish_api_log_using_subcommand show" -l diff -d 'What changed since another trace, and where a prompt cache stops: its id, or `parent`' -r
complete -c api-log -n "__fish_api_log_using_subcommand show" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand show" -l raw -d 'The line as it stands in the file'
complete -c api-log -n "__fish_api_log_using_subcommand show" -l events -d 'The events of its stream, with their times'
complete -c api-log -n "__fish_api_log_using_subcommand show" -l curl -d 'A curl command that repeats the request'
complete -c api-log -n "__fish_api_log_using_subcommand show" -l with-credentials -d 'With its credentials, not variables in their place'
complete -c api-log -n "__fish_api_log_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand replay" -l url -d 'The recorder\'s API [default: http://127.0.0.1:7862]' -r
complete -c api-log -n "__fish_api_log_using_subcommand replay" -l token -d 'Its token [default: APILOG_TOKEN, else that of the configured data dir]' -r
complete -c api-log -n "__fish_api_log_using_subcommand replay" -l token-file -d 'A file with its token' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand replay" -l data-dir -d 'Read the files of this data dir; needs no recorder' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand replay" -l color -d 'Colours: auto, always or never' -r -f -a "auto\t''
always\t''
never\t''"
complete -c api-log -n "__fish_api_log_using_subcommand replay" -l speed -d 'So many times as fast, up to 100' -r
complete -c api-log -n "__fish_api_log_using_subcommand replay" -l from -d 'The first event, counted from 0' -r
complete -c api-log -n "__fish_api_log_using_subcommand replay" -l to -d 'The event before which it ends' -r
complete -c api-log -n "__fish_api_log_using_subcommand replay" -l dir -d 'Whose messages of a socket: server, client or both' -r -f -a "server\t''
client\t''
both\t''"
complete -c api-log -n "__fish_api_log_using_subcommand replay" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand replay" -l nodelay -d 'Without pauses'
complete -c api-log -n "__fish_api_log_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand mock" -l listen -d 'Where to listen; port 0 takes a free one' -r
complete -c api-log -n "__fish_api_log_using_subcommand mock" -l from -d 'Answer from the recordings of this data dir; never asks an upstream' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand mock" -l speed -d 'So many times as fast as it was recorded, up to 100' -r
complete -c api-log -n "__fish_api_log_using_subcommand mock" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand mock" -l nodelay -d 'Without pauses'
complete -c api-log -n "__fish_api_log_using_subcommand mock" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand package" -l out -d 'Where to; `-` is standard output [default: a new file here]' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand package" -l from -d 'Begun at or after: RFC 3339 or YYYY-MM-DD (UTC)' -r
complete -c api-log -n "__fish_api_log_using_subcommand package" -l to -d 'Begun before' -r
complete -c api-log -n "__fish_api_log_using_subcommand package" -l path -d 'Of this path, with any query unless one is given' -r
complete -c api-log -n "__fish_api_log_using_subcommand package" -l path-prefix -d 'Of paths that begin so' -r
complete -c api-log -n "__fish_api_log_using_subcommand package" -l model -d 'Of this model' -r
complete -c api-log -n "__fish_api_log_using_subcommand package" -l key-prefix -d 'Of keys whose hash begins so' -r
complete -c api-log -n "__fish_api_log_using_subcommand package" -l status -d 'With this status: 404, 2xx, 4xx or 5xx' -r
complete -c api-log -n "__fish_api_log_using_subcommand package" -l session -d 'Of the session with this first trace' -r
complete -c api-log -n "__fish_api_log_using_subcommand package" -l project -d 'Of this project' -r
complete -c api-log -n "__fish_api_log_using_subcommand package" -l tag -d 'With this label' -r
complete -c api-log -n "__fish_api_log_using_subcommand package" -l limit -d 'At most so many, the newest; 0 for all' -r
complete -c api-log -n "__fish_api_log_using_subcommand package" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand package" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand verify" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand verify" -l repair -d 'Mend what can be mended without losing a byte; needs the recorder stopped'
complete -c api-log -n "__fish_api_log_using_subcommand verify" -l json -d 'One JSON object on standard output'
complete -c api-log -n "__fish_api_log_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand token; and not __fish_seen_subcommand_from new list revoke" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand token; and not __fish_seen_subcommand_from new list revoke" -s h -l help -d 'Print help'
complete -c api-log -n "__fish_api_log_using_subcommand token; and not __fish_seen_subcommand_from new list revoke" -f -a "new" -d 'Make a token, and print it this once'
complete -c api-log -n "__fish_api_log_using_subcommand token; and not __fish_seen_subcommand_from new list revoke" -f -a "list" -d 'List the tokens: name, scope, until when'
complete -c api-log -n "__fish_api_log_using_subcommand token; and not __fish_seen_subcommand_from new list revoke" -f -a "revoke" -d 'Refuse a token from now on'
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from new" -l name -d 'What it is called, in lists and in the access log' -r
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from new" -l scope -d 'viewer: reads; admin: changes settings and plugins too' -r
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from new" -l expires -d 'Until when: RFC 3339, or a time from now such as 90d' -r
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from new" -l file -d 'The token file, instead of the configured one' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from new" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from list" -l file -d 'The token file, instead of the configured one' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from list" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from revoke" -l file -d 'The token file, instead of the configured one' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand healthcheck" -l url -d 'This URL, http only [default: /readyz of the configured api.listen]' -r
complete -c api-log -n "__fish_api_log_using_subcommand healthcheck" -l timeout -d 'How long the answer may take' -r
complete -c api-log -n "__fish_api_log_using_subcommand healthcheck" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand healthcheck" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand completions" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c api-log -n "__fish_api_log_using_subcommand man" -l out -d 'Write every page to this folder, as api-log.1, api-log-verify.1 and so on' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand man" -l config -d 'YAML configuration; without it: defaults and environment' -r -F
complete -c api-log -n "__fish_api_log_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
