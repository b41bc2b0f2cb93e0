# Login shells begin with the PATH of /etc/profile; what this machine's image and its owner set comes before it.
if [ -n "${CLOUDROUTER_PATH:-}" ]; then
    PATH="$CLOUDROUTER_PATH:$PATH"
    export PATH
fi
