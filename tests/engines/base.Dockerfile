# What the official base images promise: a user, a working directory, `npm start`, and the SDK and Crawlee in place.
FROM @NAME@
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NODE_ENV=production \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1 \
    npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false
WORKDIR /usr/src/app
USER myuser
CMD ["npm", "start", "--silent"]
